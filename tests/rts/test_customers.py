"""Tills create customers at headquarters at once, exactly once, by the same rules as uploads.

From conftest.py: `store` is a store, once on PostgreSQL and once on SQLite; `till` is its till;
`houston_till` and `seattle_till` are those of two stores on PostgreSQL, whose company's first
account is 005001.
"""

from datetime import date
from typing import Any
from uuid import UUID, uuid4

import pytest

from stores.models import (
    AsyncCustomer,
    ChannelDatabase,
    Customer,
    CustomerAddress,
    DayBalance,
    GuidMap,
    NumberSequence,
    Quarantine,
    RtsAnswer,
    UploadBatch,
)
from stores.models.job import JobCode
from stores.pipeline import number_journal
from tests.support.concurrency import run_together
from tests.support.make import lookup, make_customer, make_event, run
from tests.support.promises import broken_promises
from tests.support.rts import Till, code_of, new_event
from tests.support.traces import get_trace, kinds_of, texts_of

pytestmark = pytest.mark.slow


def write_event(store: Any, event: dict[str, Any], **columns: Any) -> None:
    """Write the event into the channel's database, as a till does that heard no answer."""
    make_event("customer", store, **{"customer_type": None, "last_name": None} | event | columns)


def test_a_customer_gets_an_account_at_once_and_all_channels_get_it(till, store, web):
    event = new_event("Ann")

    response = till.post(event)
    run(JobCode.DOWNLOAD)

    assert response.status_code == 201
    assert response.json() == {
        "async_account": event["async_account"],
        "company": "USRT",
        "account_number": "005001",
    }
    assert lookup(store) == lookup(web) == [("005001", "Ann")]
    assert broken_promises() == []


def test_the_same_call_has_the_same_answer_for_ever(houston_till, houston):
    event = new_event("Ann")
    first = houston_till.post(event)
    make_event("customer", houston, async_account=event["async_account"], operation="update")
    run("pipeline")

    again = [
        houston_till.post(event),
        Till.of(houston).post(dict(reversed(event.items())) | {"email": None}),
    ]

    assert [response.json() for response in again] == [first.json()] * 2
    assert [response.status_code for response in again] == [200, 200]
    assert AsyncCustomer.objects.count() == 2
    assert RtsAnswer.objects.get().token == houston_till.row


def test_another_event_with_the_same_guid_is_refused(houston_till):
    event = new_event("Ann")
    houston_till.post(event)

    other_body = houston_till.post(event | {"first_name": "Bo"})
    other_event = houston_till.post(event | {"event_id": str(uuid4())})

    assert code_of(other_body) == (409, "event_conflict")
    assert code_of(other_event) == (409, "guid_used")
    assert Customer.objects.get(number=5001).first_name == "Ann"
    assert AsyncCustomer.objects.count() == 1


def test_many_calls_at_once_create_one_customer(houston_till):
    event = new_event("Ann")

    responses = run_together(*[lambda: houston_till.post(event)] * 8)

    assert sorted(response.status_code for response in responses) == [200] * 7 + [201]
    assert {response.json()["account_number"] for response in responses} == {"005001"}
    assert NumberSequence.objects.get().next == 5002


def test_a_till_that_heard_no_answer_writes_the_same_event_without_effect(till, store):
    event = new_event("Ann", birth_date="1990-02-03", email="ann@example.com")
    till.post(event)
    write_event(store, event)

    counts = run("pipeline")["counts"]

    assert counts["unchanged"] == 1
    assert not counts.get("updated")
    assert not Quarantine.objects.exists()
    assert Customer.objects.filter(number__isnull=False).count() == 1
    assert broken_promises() == []


def test_a_customer_who_was_uploaded_first_is_converted_now(houston_till, houston):
    event = new_event("Ann")
    write_event(houston, event)
    run(JobCode.UPLOAD)
    assert houston_till.get(event["async_account"]).json()["state"] == "not_synchronized"

    response = houston_till.post(event)
    run("pipeline")

    assert (response.status_code, response.json()["account_number"]) == (200, "005001")
    assert GuidMap.objects.count() == 1
    assert broken_promises() == []


def test_an_uploaded_customer_is_not_replaced_by_another_body(houston_till, houston):
    event = new_event("Ann")
    write_event(houston, event)
    run(JobCode.UPLOAD)

    response = houston_till.post(event | {"first_name": "Bo"})

    assert code_of(response) == (409, "event_conflict")
    assert not GuidMap.objects.exists()


def test_edits_and_addresses_of_the_till_follow(houston_till, houston):
    event = new_event("Ann")
    guid = event["async_account"]
    make_event("address", houston, async_account=guid)
    run("pipeline")
    houston_till.post(event)
    make_event("customer", houston, async_account=guid, operation="update", first_name="Anna")

    run("pipeline")

    ann = Customer.objects.get(account_number="005001")
    assert ann.first_name == "Anna"
    assert CustomerAddress.objects.get().customer == ann
    assert broken_promises() == []


def test_a_customer_inherits_from_the_default_customer_of_the_channel(houston_till, houston):
    default = Customer.objects.filter(pk=houston.channel.default_customer_id)
    default.update(currency="USD", customer_group="30")

    houston_till.post(new_event("Ann", customer_type=None, currency=""))

    ann = Customer.objects.get(account_number="005001")
    assert (ann.customer_type, ann.currency, ann.customer_group) == ("person", "USD", "30")


def test_the_trace_says_that_the_till_called_the_service(houston_till, houston):
    event = new_event("Ann")
    houston_till.post(event)

    trace = get_trace(event["async_account"])

    assert kinds_of(trace) == ["captured", "converted"]
    assert texts_of(trace, "captured") == ["Customer created in real time."]
    assert {event.channel for event in trace.events} == {houston.channel.code}
    assert (trace.account_number, trace.state) == ("005001", "synchronized")


def test_the_balance_counts_the_customer(houston_till, houston):
    houston_till.post(new_event("Ann"))
    make_customer(houston, "Bo")

    run("pipeline")

    day = DayBalance.objects.get(table="async_customer")
    assert (day.database, day.captured, day.converted, day.waiting) == (houston, 2, 2, 0)


# --------------------------------------------------------------------------- refusals


@pytest.mark.scenario(id="T18")
def test_a_customer_whom_headquarters_refuses_is_an_error_and_stores_nothing(houston_till):
    event = new_event("Ann", email="nobody", last_name="L" * 61)

    response = houston_till.post(event)

    assert code_of(response) == (422, "customer_refused")
    assert response.json()["fields"] == {
        "email": "Not an e-mail address.",
        "last_name": "Too long: at most 60 characters.",
    }
    assert not AsyncCustomer.objects.exists()
    assert not UploadBatch.objects.exists()
    assert (
        houston_till.post(event | {"email": "ann@example.com", "last_name": "Lee"}).status_code
        == 201
    )


def test_a_field_that_is_optional_is_marked_and_the_customer_created(houston_till):
    response = houston_till.post(new_event("Ann", phone="unknown"))
    run("pipeline")

    ann = Customer.objects.get(account_number=response.json()["account_number"])
    assert ann.phone == "unknown"
    assert broken_promises() == []


def test_the_guid_of_another_channel_is_refused(houston_till, seattle_till, houston):
    converted, pending = new_event("Ann"), new_event("Bo")
    houston_till.post(converted)
    write_event(houston, pending)
    run(JobCode.UPLOAD)

    responses = [seattle_till.post(event) for event in (converted, pending)]

    assert [code_of(response) for response in responses] == [(409, "guid_conflict")] * 2
    assert code_of(seattle_till.get(converted["async_account"])) == (404, "unknown_guid")


def test_a_customer_whom_the_database_refuses_is_not_stored(houston_till, raise_on):
    raise_on("customer", "INSERT", "NEW.first_name = 'Ann'")

    response = houston_till.post(new_event("Ann"))

    assert code_of(response) == (422, "customer_refused")
    assert not AsyncCustomer.objects.exists()
    assert houston_till.post(new_event("Bo")).json()["account_number"] == "005001"


def test_without_a_number_the_till_is_to_write_its_event(houston_till, without_numbers):
    response = houston_till.post(new_event("Ann"))

    assert code_of(response) == (503, "sequence_exhausted")
    assert int(response.headers["Retry-After"]) > 0
    assert not AsyncCustomer.objects.exists()


def test_an_uploaded_customer_without_a_number_is_pending(houston_till, houston, without_numbers):
    event = new_event("Ann")
    write_event(houston, event)
    run("pipeline")

    response = houston_till.post(event)

    assert response.status_code == 202
    assert (
        response.json()
        == houston_till.get(event["async_account"]).json()
        == {
            "async_account": event["async_account"],
            "company": "USRT",
            "account_number": None,
            "state": "failed",
            "message": "The company's number sequence is used up.",
        }
    )


def test_a_quarantined_customer_has_failed_until_the_till_sends_a_better_event(
    houston_till, houston
):
    guid = str(make_customer(houston, "Ann", email="nobody"))
    run("pipeline")

    before = houston_till.get(guid).json()
    after = houston_till.post(new_event("Ann", async_account=guid)).json()
    run("pipeline")

    assert (before["state"], before["message"]) == ("failed", "email: not an e-mail address.")
    assert after["account_number"] == "005001"
    assert Quarantine.objects.get().status == "superseded"
    assert broken_promises() == []


# -------------------------------------------------------------------- headquarters away


def test_no_account_leaves_headquarters_before_it_is_in_the_journal(houston_till, monkeypatch):
    event = new_event("Ann")

    def fail(data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(number_journal, "append_data", fail)
        failed = [houston_till.post(event), houston_till.get(event["async_account"])]
    answered = houston_till.post(event)

    assert [code_of(response) for response in failed] == [(503, "not_issuing")] * 2
    assert answered.json()["account_number"] == "005001"
    assert broken_promises() == []


def test_after_a_start_of_the_server_no_number_is_issued_before_channels_were_compared(
    houston_till, houston
):
    make_customer(houston, "Bo")
    run("pipeline")
    ChannelDatabase.objects.update(recognised_start=None)

    before = houston_till.post(new_event("Ann"))
    run(JobCode.UPLOAD)
    after = houston_till.post(new_event("Ann"))

    assert code_of(before) == (503, "not_issuing")
    assert after.status_code == 201


def test_the_accounts_of_other_channels_are_found_once_they_were_sent(
    houston_till, seattle_till, houston, seattle
):
    event = new_event("Ann")
    houston_till.post(event)
    before = seattle_till.get(event["async_account"])
    run(JobCode.DOWNLOAD)

    after = seattle_till.get(event["async_account"])

    assert before.status_code == 404
    assert after.json() == houston_till.get(event["async_account"]).json()
    assert UUID(after.json()["async_account"]) == UUID(event["async_account"])


@pytest.mark.fault("F-33")  # HQ was restored from a backup
def test_a_recovered_headquarters_has_the_same_answer_and_the_customer(
    till, store, back_up_hq, recover_hq
):
    make_customer(store, "Ann")
    run("pipeline")
    backup = back_up_hq()
    event = new_event("Bo", email="bo@example.com", birth_date="1990-02-03")
    answer = till.post(event).json()
    run("pipeline")
    backup.restore()

    stopped = till.post(event)
    run("pipeline")
    recover_hq()
    run("pipeline")

    assert code_of(stopped) == (503, "not_issuing")
    assert till.post(event).json() == answer
    bo = Customer.objects.get(account_number="005002")
    assert (bo.first_name, bo.email, bo.birth_date) == ("Bo", "bo@example.com", date(1990, 2, 3))
    assert lookup(store) == [("005001", "Ann"), ("005002", "Bo")]
    assert broken_promises() == []
