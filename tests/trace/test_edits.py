"""Edits in a trace: which fields changed, with old and new values, without personal data.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `seattle` is
another store on PostgreSQL; `store` is a store, once on PostgreSQL and once on SQLite.
"""

from uuid import uuid4

from stores.models.job import JobCode
from stores.trace.match import matches
from stores.trace.types import trace_as_json
from tests.support.make import make_customer, make_event, query, run
from tests.support.traces import get_trace, kinds_of, minute, texts_of


def test_edits_before_upload_show_old_and_new_values(store):
    guid = make_customer(store, phone="111", occurred_at=minute(0))
    edit = {"guid": guid, "operation": "update"}
    make_customer(store, **edit, phone="222", occurred_at=minute(1))
    make_customer(store, **edit, phone="333", occurred_at=minute(2))
    run("pipeline")

    customer_trace = get_trace(guid)

    assert texts_of(customer_trace, "captured") == [
        "Customer created.",
        "Customer edited: phone.",
        "Customer edited: phone.",
    ]
    assert texts_of(customer_trace, "edited") == [
        "Customer edited: phone 111 -> 222.",
        "Customer edited: phone 222 -> 333.",
    ]
    assert kinds_of(customer_trace).index("converted") < kinds_of(customer_trace).index("edited")


def test_an_edit_by_guid_is_in_the_account_s_trace(houston):
    guid = make_customer(houston, email="old@example.com", occurred_at=minute(0))
    run(JobCode.UPLOAD)
    run("sync-customers")
    edit = {"guid": guid, "operation": "update", "occurred_at": minute(9)}
    make_customer(houston, **edit, email="new@example.com")
    run(JobCode.UPLOAD)

    assert get_trace("005001").waiting_for.code == "not_applied"

    run("pipeline")

    assert texts_of(get_trace("005001"), "edited") == [
        "Customer edited: email old@example.com -> new@example.com."
    ]
    assert len(matches(str(guid))) == 1


def test_a_late_edit_is_shown_with_both_values(houston, seattle):
    guid = make_customer(houston, phone="111", occurred_at=minute(0))
    run("pipeline")
    edit = {"guid": guid, "operation": "update"}
    make_customer(houston, **edit, phone="333", occurred_at=minute(20))
    run("pipeline")
    make_customer(seattle, **edit, phone="222", occurred_at=minute(10))
    run("pipeline")

    assert texts_of(get_trace(guid), "superseded") == [
        "Customer edited: phone 111 -> 222; it arrived too late, and a newer one was kept."
    ]


def test_an_address_removed_before_the_upload_has_both_events(store):
    guid = make_customer(store, occurred_at=minute(0))
    address = {"async_account": guid, "address_id": uuid4()}
    make_event("address", store, **address, operation="create", occurred_at=minute(1))
    make_event("address", store, **address, operation="deactivate", occurred_at=minute(2))
    run("pipeline")

    customer_trace = get_trace(guid)

    assert texts_of(customer_trace, "captured") == [
        "Customer created.",
        "Address home added.",
        "Address home removed.",
    ]
    assert texts_of(customer_trace, "added") == ["Address home added."]
    assert texts_of(customer_trace, "removed") == ["Address home removed."]


def test_an_event_resent_with_other_content_names_the_differences(store):
    event_id, guid = uuid4(), uuid4()
    event = {"guid": guid, "event_id": event_id, "occurred_at": minute(0)}
    make_customer(store, **event, phone="+1 713 555 0111")
    run(JobCode.UPLOAD)
    # The channel may delete an event that HQ has acknowledged.
    query(store, "DELETE FROM async_customer WHERE event_id = %s", str(event_id))
    make_customer(store, **event, phone="+1 713 555 0222")
    run(JobCode.UPLOAD)

    customer_trace = get_trace(guid)

    assert customer_trace.waiting_for.code == "event_conflict"
    assert "It differs in phone." in texts_of(customer_trace, "quarantined")[0]
    assert "555 0222" not in str(trace_as_json(customer_trace))


def test_a_trace_contains_no_name_and_no_contact(houston):
    guid = make_customer(
        houston, first_name="Annabel", last_name="Canary", email="canary@example.com"
    )
    make_event("contact", houston, async_account=guid, locator="canary2@example.com")
    make_customer(houston, guid=guid, email="bad canary", operation="update")
    run("pipeline")

    content = str(trace_as_json(get_trace(guid)))

    assert "Customer created." in content
    assert "canary" not in content.lower()
    assert "Annabel" not in content
