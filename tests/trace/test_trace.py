"""Trace: one customer's whole story, found by whatever people know of the customer."""

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from stores.channeldb.connect.url import sqlite_path
from stores.models import Company, Customer, GuidMap, NumberSequence
from stores.pipeline.channel_search import Criteria, search_channels
from stores.pipeline.convert.accounts import import_account
from stores.trace.match import matches
from stores.trace.timeline import trace
from stores.trace.types import Trace, trace_as_json
from tests.support.make import make_customer, make_event, query, run

MORNING = datetime(2026, 11, 20, 9, tzinfo=UTC)


def at(minute: int) -> datetime:
    return MORNING + timedelta(minutes=minute)


def told(ref: object) -> Trace:
    found = trace(str(ref))
    assert found is not None
    return found


def texts(found: Trace, kind: str) -> list[str]:
    return [event.text for event in found.events if event.kind == kind]


def kinds(found: Trace) -> list[str]:
    return [event.kind for event in found.events]


def document(command, *words: object) -> dict:
    return json.loads(command("trace", *map(str, words), "--json"))


# ------------------------------------------------------------------ states


@pytest.mark.slow
def test_a_customer_is_traced_from_the_till_to_every_channel(store, seattle, command):
    guid = make_customer(store, occurred_at=at(0))
    make_event("address", store, async_account=guid, occurred_at=at(0))

    assert trace(str(guid)) is None
    assert document(command, guid, "--look-in-channels")["state"] == "pending_upload"
    run("P-0001")
    assert told(guid).state == "not_synchronized"
    assert told(guid).waiting_for.code == "not_synchronized"
    run("sync-customers")
    assert told(guid).state == "synchronized"
    assert "seattle" in told(guid).waiting_for.text
    run("1010")

    found = told(guid)
    assert (found.state, found.waiting_for) == ("distributed", None)
    assert (found.account_number, found.company) == ("005001", "USRT")
    assert kinds(found) == [
        *["captured", "captured", "uploaded"],
        *["converted", "added", "delivered", "delivered"],
    ]
    assert [place.knows_account for place in found.channels] == [True, True]


def test_what_happened_names_its_run_and_session(houston):
    guid = make_customer(houston)
    done = run("pipeline")

    found = {event.kind: event for event in told(guid).events}

    assert {found[kind].run for kind in ("uploaded", "converted", "delivered")} == {done["run"]}
    assert found["uploaded"].session != found["delivered"].session
    assert found["captured"].run is None


def test_the_json_document_has_exactly_the_contract_s_words(houston, command):
    guid = make_customer(houston)
    run("P-0001")

    found = document(command, guid)

    assert list(found) == [
        *["async_accounts", "account_number", "company", "state", "waiting_for"],
        *["events", "channels", "documents"],
    ]
    assert found["async_accounts"] == [str(guid)]
    assert list(found["waiting_for"]) == ["code", "text", "next_step"]
    assert {tuple(event) for event in found["events"]} == {
        ("at", "kind", "channel", "text", "run", "session")
    }
    assert {tuple(place) for place in found["channels"]} == {
        ("channel", "database", "knows_account", "at")
    }
    assert datetime.fromisoformat(found["events"][0]["at"]).utcoffset() == timedelta(0)


def test_a_customer_set_aside_has_failed_and_says_why(store):
    guid = make_customer(store, email="none")
    run("pipeline")

    found = told(guid)

    assert found.state == "failed"
    assert found.waiting_for.code == "email_format"
    assert found.waiting_for.next_step
    assert texts(found, "quarantined") == ["Customer quarantined: email: not an e-mail address."]


def test_a_customer_beyond_the_number_sequence_has_failed_until_it_is_extended(houston):
    NumberSequence.objects.update(largest=5001)
    guids = sorted([make_customer(houston), make_customer(houston)], key=str)
    run("pipeline")

    assert [told(guid).state for guid in guids] == ["distributed", "failed"]
    assert told(guids[1]).waiting_for.code == "sequence_exhausted"
    NumberSequence.objects.update(largest=5002)
    run("pipeline")

    assert told(guids[1]).state == "distributed"


def test_an_address_without_its_customer_waits_for_it(houston):
    guid = uuid4()
    make_event("address", houston, async_account=guid, is_primary=True)
    run("pipeline")
    assert (told(guid).state, told(guid).waiting_for.code) == ("waiting", "parent_missing")

    make_customer(houston, guid=guid)
    run("pipeline")

    assert told(guid).state == "distributed"
    assert texts(told(guid), "added") == ["Address home added."]


def test_a_customer_lacking_in_a_silent_channel_is_only_synchronized(houston, popup):
    guid = make_customer(houston)
    path = sqlite_path(popup)
    path.rename(path.with_suffix(".away"))
    run("pipeline")
    found = told(guid)
    path.with_suffix(".away").rename(path)

    assert found.state == "synchronized"
    assert "popup" in found.waiting_for.text
    assert {place.database: place.knows_account for place in found.channels} == {
        "houston": True,
        "popup": False,
    }


def test_a_customer_the_till_never_created_has_a_story_too(houston):
    customer = import_account(Company.objects.get(), "004009", last_name="Lee")
    make_event("address", houston, account_number="004009")
    run("pipeline")

    found = told("004009")

    assert (found.async_accounts, found.state) == ([], "distributed")
    assert kinds(found) == ["created", "captured", "uploaded", "added", "delivered"] or (
        kinds(found) == ["captured", "created", "uploaded", "added", "delivered"]
    )
    assert customer.account_number == found.account_number


def test_an_erased_customer_is_told_as_erased(houston):
    guid = make_customer(houston)
    run("pipeline")
    Customer.objects.filter(number__isnull=False).update(state="erased")

    assert told(guid).state == "erased"


def test_every_guid_of_an_account_leads_to_one_story(houston):
    guid = make_customer(houston)
    run("pipeline")
    other, customer = uuid4(), GuidMap.objects.get().customer
    GuidMap.objects.create(
        async_account=other,
        company=customer.company,
        customer=customer,
        origin="linked",
        channel=houston.channel,
    )

    assert told(other).async_accounts == [str(guid), str(other)]
    assert texts(told(other), "linked") == ["Linked to account 005001."]


# ------------------------------------------------------------------ edits


def test_three_operations_before_the_upload_are_told_with_old_and_new_values(store):
    guid = make_customer(store, phone="111", occurred_at=at(0))
    for minute, phone in enumerate(("222", "333"), start=1):
        make_customer(store, guid=guid, operation="update", phone=phone, occurred_at=at(minute))
    run("pipeline")

    found = told(guid)

    assert texts(found, "captured") == [
        "Customer created.",
        "Customer edited: phone.",
        "Customer edited: phone.",
    ]
    assert texts(found, "edited") == [
        "Customer edited: phone 111 -> 222.",
        "Customer edited: phone 222 -> 333.",
    ]
    assert kinds(found).index("converted") < kinds(found).index("edited")


def test_an_edit_that_knows_only_the_guid_is_told_in_the_story_of_the_account(houston):
    guid = make_customer(houston, email="old@example.com", occurred_at=at(0))
    run("P-0001")
    run("sync-customers")
    make_customer(
        houston, guid=guid, operation="update", email="new@example.com", occurred_at=at(9)
    )
    run("P-0001")
    assert told("005001").waiting_for.code == "not_applied"
    run("pipeline")

    assert texts(told("005001"), "edited") == [
        "Customer edited: email old@example.com -> new@example.com."
    ]
    assert len(matches(str(guid))) == 1


def test_an_edit_that_came_too_late_is_told_with_both_values(houston, seattle):
    guid = make_customer(houston, phone="111", occurred_at=at(0))
    run("pipeline")
    edit = {"guid": guid, "operation": "update"}
    make_customer(houston, **edit, phone="333", occurred_at=at(20))
    run("pipeline")
    make_customer(seattle, **edit, phone="222", occurred_at=at(10))
    run("pipeline")

    assert texts(told(guid), "superseded") == [
        "Customer edited: phone 111 -> 222; it arrived too late, and a newer one was kept."
    ]


def test_an_address_removed_before_the_upload_shows_both_operations(store):
    guid, address = make_customer(store, occurred_at=at(0)), uuid4()
    for minute, operation in enumerate(("create", "deactivate"), start=1):
        make_event(
            "address",
            store,
            async_account=guid,
            address_id=address,
            operation=operation,
            occurred_at=at(minute),
        )
    run("pipeline")

    found = told(guid)

    assert texts(found, "captured")[1:] == ["Address home added.", "Address home removed."]
    assert texts(found, "added") + texts(found, "removed") == texts(found, "captured")[1:]


def test_an_event_that_comes_again_with_other_content_shows_in_what_it_differs(store):
    event, guid = uuid4(), uuid4()
    make_customer(store, guid=guid, event_id=event, phone="111", occurred_at=at(0))
    run("P-0001")
    forget(store, event)
    make_customer(store, guid=guid, event_id=event, phone="222", occurred_at=at(0))
    run("P-0001")

    found = told(guid)

    assert found.waiting_for.code == "event_conflict"
    assert "It differs in phone." in texts(found, "quarantined")[0]
    assert "222" not in str(trace_as_json(found))


def forget(store, event: UUID) -> None:
    """Remove an acknowledged event from its channel, as a clean-up there may."""
    query(store, "DELETE FROM async_customer WHERE event_id = %s", str(event))


def test_texts_name_nobody(houston):
    guid = make_customer(
        houston, first_name="Annabel", last_name="Canary", email="canary@example.com"
    )
    make_event("contact", houston, async_account=guid, locator="canary2@example.com")
    make_customer(houston, guid=guid, email="bad canary", operation="update")
    run("pipeline")

    assert "canary" not in str(trace_as_json(told(guid))).lower()
    assert "Annabel" not in str(trace_as_json(told(guid)))


# ------------------------------------------------------------------ references


@pytest.mark.parametrize("form", ["{}", "{{{}}}", " {} "])
def test_a_guid_is_found_in_any_case_and_in_braces(houston, form):
    guid = make_customer(houston)
    run("P-0001")

    assert told(form.format(str(guid).upper())).async_accounts == [str(guid)]


@pytest.mark.slow
@pytest.mark.parametrize("ref", ["ANN@Example.COM", "+1 (713) 555-0100", "1713.5550100", "005001"])
def test_a_customer_is_found_by_what_people_remember(houston, ref):
    guid = make_customer(houston, email="ann@example.com", phone="+1 713 555 0100")
    run("pipeline")

    assert told(ref).async_accounts == [str(guid)]


@pytest.mark.parametrize("ref", ["ann@example.com", "SECOND@example.com", "713-555-0100"])
def test_a_pending_customer_is_found_by_what_people_remember(houston, ref):
    guid = make_customer(houston, email="Ann@example.com", phone="(713) 555 0100")
    make_event("contact", houston, async_account=guid)
    run("P-0001")

    assert told(ref).async_accounts == [str(guid)]


@pytest.mark.parametrize("ref", ["009999", "no\0body", "@", "{}", str(UUID(int=1)), "\udcff"])
def test_an_unknown_reference_ends_with_one_line_and_status_1(houston, ref):
    with pytest.raises(CommandError) as error:
        call_command("trace", ref)

    assert error.value.returncode == 1
    assert str(error.value) == "No customer matches this reference."


@pytest.mark.parametrize("ref", ["", "  "])
def test_a_reference_that_is_empty_is_a_wrong_argument(hq, ref):
    with pytest.raises(CommandError, match="Enter a GUID") as error:
        call_command("trace", ref)

    assert error.value.returncode == 2


def test_a_company_that_does_not_exist_is_told(houston):
    with pytest.raises(CommandError, match="there is no company 'NOPE'"):
        call_command("trace", "NOPE:C-000001")
    with pytest.raises(CommandError, match=r"matches this reference\.$"):
        call_command("trace", f"{houston.channel.company_id}:C-000001")


def test_several_people_with_one_phone_are_listed_and_the_newest_is_the_json(houston, command):
    first = make_customer(houston, phone="713 555 0100")
    run("pipeline")
    second = make_customer(houston, first_name="Bo", phone="713 555 0100")
    run("P-0001")

    with pytest.raises(CommandError, match="2 customers match") as error:
        command("trace", "7135550100")

    assert error.value.returncode == 1
    assert [match.ref for match in matches("7135550100")] == [str(second), str(first)]
    assert document(command, "7135550100")["async_accounts"] == [str(second)]


def test_an_account_of_two_companies_is_told_with_its_company(houston, command):
    other = Company.objects.create(code="NLRT", name="Netherlands")
    for company in (houston.channel.company, other):
        import_account(company, "100001", last_name="Lee")

    assert {match.ref for match in matches("100001")} == {"USRT:100001", "NLRT:100001"}
    assert told("nlrt:100001").company == "NLRT"
    with pytest.raises(CommandError, match="2 customers match"):
        command("trace", "100001")


def test_the_text_names_every_event_in_order(houston, command):
    guid = make_customer(houston)
    run("pipeline")

    lines = command("trace", str(guid)).splitlines()

    assert lines[:3] == [f"GUID     {guid}", "Account  005001 (USRT)", "State    distributed"]
    words = ["captured", "uploaded", "converted", "delivered"]
    assert [line.split()[2] for line in lines if line.startswith("20")] == words
    assert lines[-1].startswith("houston          knows the account since")


# ------------------------------------------------------------------ channels


@pytest.mark.slow
@pytest.mark.parametrize("ref", ["guid", "ANN@example.com", "7135550100"])
def test_a_customer_still_in_a_channel_is_found_there(store, command, ref):
    guid = make_customer(store, email="ann@example.com", phone="713-555 0100")
    make_event("address", store, async_account=guid)

    found = document(command, guid if ref == "guid" else ref, "--look-in-channels")

    assert (found["state"], found["async_accounts"]) == ("pending_upload", [str(guid)])
    assert found["waiting_for"]["code"] == "pending_upload"
    assert [event["text"] for event in found["events"]] == [
        "Customer event is still waiting in the channel.",
        "Address event is still waiting in the channel.",
    ]


def test_an_edit_still_in_a_channel_is_told_with_the_account(store, command):
    guid = make_customer(store)
    run("pipeline")
    make_event("customer", store, operation="update", account_number="005001", first_name="Anna")

    found = document(command, "005001", "--look-in-channels")

    assert found["state"] == "distributed"
    assert found["waiting_for"]["code"] == "pending_upload"
    assert found["async_accounts"] == [str(guid)]
    assert found["channels"][0]["knows_account"]


def test_a_silent_channel_is_an_event_of_the_story(houston, popup, command):
    guid = make_customer(houston)
    run("pipeline")
    sqlite_path(popup).rename(sqlite_path(popup).with_suffix(".away"))

    found = document(command, guid, "--look-in-channels")
    sqlite_path(popup).with_suffix(".away").rename(sqlite_path(popup))

    assert found["events"][-1]["kind"] == "unreachable"
    assert found["events"][-1]["text"] == "Channel popup cannot be reached."
    assert found["state"] == "distributed"


@pytest.mark.slow
def test_a_channel_that_lost_its_map_shows_that_it_lacks_the_account(store, command):
    guid = make_customer(store)
    run("pipeline")
    query(store, "DELETE FROM account_map")

    assert document(command, guid)["channels"][0]["knows_account"]
    assert not document(command, guid, "--look-in-channels")["channels"][0]["knows_account"]


def test_an_account_that_only_a_channel_knows_is_said_to_be_forgotten(store, command):
    guid = str(uuid4())
    query(
        store,
        "INSERT INTO account_map (async_account, company, account_number, received_at)"
        " VALUES (%s, 'USRT', '005099', %s)",
        guid,
        timezone.now().isoformat(),
    )

    found = document(command, guid, "--look-in-channels")

    assert found["waiting_for"]["code"] == "unknown_at_headquarters"


def test_a_till_s_malformed_rows_do_not_stop_the_look(popup):
    guid = make_customer(popup, email="ann@example.com")
    make_event("customer", popup, async_account="no guid", occurred_at="no time", email="b@c.de")
    make_event("customer", popup, async_account=str(guid).upper(), created_offline=7)

    (found,) = search_channels(Criteria(async_accounts=[str(guid)], email="B@C.de"))

    assert found.error == ""
    assert [row.async_account for row in found.pending] == [str(guid), "no guid", str(guid)]
    assert found.pending[1].occurred_at is None
