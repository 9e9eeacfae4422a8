"""The state of a traced customer, what it waits for, and the events that led there.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `seattle` is
another store on PostgreSQL; `popup` is one on SQLite; `store` is a store, once on PostgreSQL and
once on SQLite; `command` calls a management command and returns its output.
"""

from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from stores.models import Company, Customer, GuidMap, NumberSequence
from stores.models.job import JobCode
from stores.pipeline.convert.accounts import import_account
from tests.support.make import make_customer, make_event, out_of_reach, run
from tests.support.traces import (
    get_trace,
    kinds_of,
    knows_account,
    minute,
    texts_of,
    trace,
    trace_document,
)


@pytest.mark.slow
def test_each_job_brings_a_customer_to_the_next_state(store, seattle, command):
    guid = make_customer(store)

    in_channel = trace_document(command, guid, "--look-in-channels")
    at_hq = trace(str(guid))
    assert in_channel["state"] == "pending_upload"
    assert at_hq is None

    run(JobCode.UPLOAD)
    staged = get_trace(guid)
    assert staged.state == "not_synchronized"
    assert staged.waiting_for.code == "not_synchronized"

    run("sync-customers")
    converted = get_trace(guid)
    assert converted.state == "synchronized"
    assert "seattle" in converted.waiting_for.text

    run(JobCode.DOWNLOAD)
    delivered = get_trace(guid)
    assert (delivered.state, delivered.waiting_for) == ("distributed", None)
    assert (delivered.account_number, delivered.company) == ("005001", "USRT")


@pytest.mark.slow
def test_a_trace_has_every_event_from_till_to_channels(store, seattle):
    guid = make_customer(store, occurred_at=minute(0))
    make_event("address", store, async_account=guid, occurred_at=minute(0))
    for job in (JobCode.UPLOAD, JobCode.CONVERT, JobCode.DOWNLOAD):
        run(job)

    customer_trace = get_trace(guid)

    assert kinds_of(customer_trace) == [
        "captured",
        "captured",
        "uploaded",
        "converted",
        "added",
        "delivered",
        "delivered",
    ]
    assert [channel.knows_account for channel in customer_trace.channels] == [True, True]


def test_an_event_names_its_run_and_session(houston):
    guid = make_customer(houston)
    result = run("pipeline")

    events = {event.kind: event for event in get_trace(guid).events}

    for kind in ("uploaded", "converted", "delivered"):
        assert events[kind].run == result["run"]
    assert events["uploaded"].session != events["delivered"].session
    assert events["captured"].run is None


def test_an_upload_counts_its_rows_by_kind(houston):
    guid = make_customer(houston)
    for _ in range(2):
        make_event("address", houston, async_account=guid)
    run(JobCode.UPLOAD)

    [uploaded] = [event for event in get_trace(guid).events if event.kind == "uploaded"]

    assert uploaded.text == "Uploaded: 1 customer, 2 addresses."


def test_the_json_document_has_the_keys_of_the_contract(houston, command):
    guid = make_customer(houston)
    run(JobCode.UPLOAD)

    document = trace_document(command, guid)

    assert list(document) == [
        "async_accounts",
        "account_number",
        "company",
        "state",
        "waiting_for",
        "events",
        "channels",
        "documents",
    ]
    assert document["async_accounts"] == [str(guid)]
    assert list(document["waiting_for"]) == ["code", "text", "next_step", "session"]
    for event in document["events"]:
        assert list(event) == ["at", "kind", "channel", "text", "run", "session"]
    for channel in document["channels"]:
        assert list(channel) == ["channel", "database", "knows_account", "at", "missing"]
    utc_offset = datetime.fromisoformat(document["events"][0]["at"]).utcoffset()
    assert utc_offset == timedelta(0)


def test_a_quarantined_customer_has_failed_with_a_reason(store):
    guid = make_customer(store, email="none")
    run("pipeline")

    customer_trace = get_trace(guid)

    assert customer_trace.state == "failed"
    assert customer_trace.waiting_for.code == "email_format"
    assert customer_trace.waiting_for.next_step
    assert texts_of(customer_trace, "quarantined") == [
        "Customer quarantined: email: not an e-mail address."
    ]


def test_a_customer_without_a_number_fails_until_there_are_more(houston):
    NumberSequence.objects.update(largest=5001)
    first, second = sorted([make_customer(houston), make_customer(houston)], key=str)
    run("pipeline")

    assert get_trace(first).state == "distributed"
    assert get_trace(second).state == "failed"
    assert get_trace(second).waiting_for.code == "sequence_exhausted"

    NumberSequence.objects.update(largest=5002)
    run("pipeline")

    assert get_trace(second).state == "distributed"


def test_an_address_waits_for_its_customer(houston):
    guid = uuid4()
    make_event("address", houston, async_account=guid, is_primary=True)
    run("pipeline")

    without_customer = get_trace(guid)
    assert without_customer.state == "waiting"
    assert without_customer.waiting_for.code == "parent_missing"

    make_customer(houston, guid=guid)
    run("pipeline")

    with_customer = get_trace(guid)
    assert with_customer.state == "distributed"
    assert texts_of(with_customer, "added") == ["Address home added."]


def test_a_customer_that_one_channel_lacks_is_only_synchronized(houston, popup):
    guid = make_customer(houston)
    with out_of_reach(popup):
        run("pipeline")

    customer_trace = get_trace(guid)

    assert customer_trace.state == "synchronized"
    assert "popup" in customer_trace.waiting_for.text
    assert knows_account(customer_trace) == {"houston": True, "popup": False}


def test_an_imported_customer_without_a_guid_has_a_trace(houston):
    import_account(Company.objects.get(), "004009", last_name="Lee")
    make_event("address", houston, account_number="004009")
    run("pipeline")

    customer_trace = get_trace("004009")

    assert customer_trace.account_number == "004009"
    assert (customer_trace.async_accounts, customer_trace.state) == ([], "distributed")
    # The clocks of HQ and of the till decide which of these two is first.
    assert sorted(kinds_of(customer_trace)[:2]) == ["captured", "created"]
    assert kinds_of(customer_trace)[2:] == ["uploaded", "added", "delivered"]


def test_an_erased_customer_has_the_state_erased(houston):
    guid = make_customer(houston)
    run("pipeline")
    Customer.objects.filter(number__isnull=False).update(state="erased")

    assert get_trace(guid).state == "erased"


def test_all_guids_of_an_account_have_the_same_trace(houston):
    guid, other_guid = make_customer(houston), uuid4()
    run("pipeline")
    customer = GuidMap.objects.get().customer
    GuidMap.objects.create(
        async_account=other_guid,
        company=customer.company,
        customer=customer,
        origin="linked",
        channel=houston.channel,
    )

    customer_trace = get_trace(other_guid)

    assert customer_trace.async_accounts == [str(guid), str(other_guid)]
    assert texts_of(customer_trace, "linked") == ["Linked to account 005001."]
