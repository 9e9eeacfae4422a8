"""With --look-in-channels the trace includes what is still in the channels' own databases.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `popup` is one
on SQLite; `store` is a store, once on PostgreSQL and once on SQLite; `command` calls a management
command and returns its output.
"""

from uuid import uuid4

import pytest
from django.utils import timezone

from stores.models.channel import Direction
from stores.pipeline.channel_search import Criteria, search_channels
from stores.pipeline.pauses import pause
from tests.support.make import make_customer, make_event, out_of_reach, query, run
from tests.support.traces import trace_document


@pytest.fixture
def ann(store) -> str:
    """Ann, whose events are still in the channel. Her GUID."""
    guid = make_customer(store, email="ann@example.com", phone="713-555 0100")
    make_event("address", store, async_account=guid)
    return str(guid)


def assert_still_in_channel(document: dict, guid: str) -> None:
    assert document["async_accounts"] == [guid]
    assert document["state"] == "pending_upload"
    assert document["waiting_for"]["code"] == "pending_upload"
    assert [event["text"] for event in document["events"]] == [
        "Customer event is still waiting in the channel.",
        "Address event is still waiting in the channel.",
    ]


@pytest.mark.slow
def test_a_customer_only_in_a_channel_is_found_by_guid(ann, command):
    document = trace_document(command, ann, "--look-in-channels")

    assert_still_in_channel(document, ann)


@pytest.mark.slow
@pytest.mark.parametrize("ref", ["ANN@example.com", "7135550100"])
def test_a_customer_only_in_a_channel_is_found_by_contact(ann, command, ref):
    document = trace_document(command, ref, "--look-in-channels")

    assert_still_in_channel(document, ann)


def test_an_edit_only_in_a_channel_is_shown(store, command):
    guid = make_customer(store)
    run("pipeline")
    make_event("customer", store, operation="update", account_number="005001", first_name="Anna")

    document = trace_document(command, "005001", "--look-in-channels")

    assert document["state"] == "distributed"
    assert document["waiting_for"]["code"] == "pending_upload"
    assert document["async_accounts"] == [str(guid)]
    assert document["channels"][0]["knows_account"]


def test_an_unreachable_channel_is_an_event_of_the_trace(houston, popup, command):
    guid = make_customer(houston)
    run("pipeline")

    with out_of_reach(popup):
        document = trace_document(command, guid, "--look-in-channels")

    last_event = document["events"][-1]
    assert last_event["kind"] == "unreachable"
    assert last_event["text"] == (
        "Channel popup cannot be reached: its file is missing or cannot be opened."
    )
    assert document["state"] == "distributed"


@pytest.mark.slow
def test_a_channel_that_has_lost_the_account_is_noticed(store, command):
    guid = make_customer(store)
    run("pipeline")
    query(store, "DELETE FROM account_map")

    at_hq = trace_document(command, guid)
    in_channel = trace_document(command, guid, "--look-in-channels")

    assert at_hq["channels"][0]["knows_account"]
    assert not in_channel["channels"][0]["knows_account"]


def test_an_account_only_a_channel_knows_is_unknown_at_hq(store, command):
    guid = str(uuid4())
    query(
        store,
        "INSERT INTO account_map (async_account, company, account_number, received_at)"
        " VALUES (%s, 'USRT', '005099', %s)",
        guid,
        timezone.now().isoformat(),
    )

    document = trace_document(command, guid, "--look-in-channels")

    assert document["waiting_for"]["code"] == "unknown_at_headquarters"


def test_a_guid_found_in_any_event_finds_all_others(popup):
    guid = make_customer(popup)
    make_event("address", popup, async_account=guid, account_number="005001")
    make_event("contact", popup, async_account=guid)

    [result] = search_channels(Criteria(account_numbers=["005001"]))

    assert [event.kind for event in result.pending] == ["customer", "address", "contact"]


def test_malformed_rows_of_a_till_do_not_stop_the_search(popup):
    guid = make_customer(popup, email="ann@example.com")
    make_event("customer", popup, async_account="no guid", occurred_at="no time", email="b@c.de")
    make_event("customer", popup, async_account=str(guid).upper(), created_offline=7)

    [result] = search_channels(Criteria(async_accounts=[str(guid)], email="B@C.de"))

    assert result.error == ""
    assert [event.async_account for event in result.pending] == [str(guid), "no guid", str(guid)]
    assert result.pending[1].occurred_at is None


def test_a_customer_in_a_paused_channel_waits_for_the_uploads_to_be_resumed(popup, command):
    guid = make_customer(popup)
    pause(popup, Direction.UPLOAD, "Stocktaking.")

    document = trace_document(command, guid, "--look-in-channels")

    assert document["waiting_for"]["text"] == (
        "Not uploaded yet from popup. Uploads from popup are paused: Stocktaking."
    )
