"""People release, correct or dismiss quarantined rows and failed events.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `seattle` is
another store on PostgreSQL; `popup` is one on SQLite; `store` is a store, once on PostgreSQL and
once on SQLite; `hq_user` is robin, a user at headquarters.
"""

from typing import Any
from uuid import UUID, uuid4

import pytest

from stores.models import (
    AsyncAddress,
    AsyncCustomer,
    AttributeDefinition,
    Case,
    Customer,
    CustomerAddress,
    CustomerAttribute,
    NumberSequence,
    Quarantine,
)
from stores.models.job import JobCode
from stores.pipeline.corrections.events import EventRefused
from stores.pipeline.corrections.quarantine import (
    ChangedMeanwhile,
    correct_event,
    dismiss_rows,
    release_rows,
)
from tests.support.engines import on_one_engine
from tests.support.make import make_customer, make_event, only_case, query, run
from tests.support.promises import broken_promises
from tests.support.staged import overwrite_events

pytestmark = pytest.mark.slow


def corrected_customer(guid: UUID | None, **columns: Any) -> dict[str, Any]:
    """The values of a customer event, as a person enters them."""
    return {
        "operation": "create",
        "async_account": guid,
        "customer_type": "person",
        "first_name": "Ann",
        "last_name": "Lee",
    } | columns


def test_a_row_is_released_once_its_broken_rule_is_gone(store, hq_user):
    guid = make_customer(store, "Ann")
    definition = AttributeDefinition.objects.create(
        company=store.channel.company, name="HAT", options=["S"]
    )
    make_event("attribute", store, async_account=guid, attribute="HAT", value="XXL")
    run(JobCode.PIPELINE)
    case = only_case()
    assert release_rows([case]).still_open == [case]

    definition.delete()
    result = release_rows([case], by=hq_user, because="Allowed by now.")
    run(JobCode.PIPELINE)

    assert (result.done, result.still_open) == (1, [])
    assert CustomerAttribute.objects.get().value == "XXL"
    row = Quarantine.objects.get()
    assert (row.status, row.attempts, row.settled_by) == ("released", 2, hq_user)
    assert row.settled_because == "Allowed by now."
    assert broken_promises() == []


def test_a_row_is_released_once_its_channel_has_its_guid(store, seattle):
    guid = make_customer(store, "Ann")
    run(JobCode.UPLOAD)
    make_customer(seattle, "Anna", guid=guid, operation="update")
    run(JobCode.PIPELINE)

    release_rows([only_case()])
    run(JobCode.PIPELINE)

    assert Customer.objects.get(account_number="005001").first_name == "Anna"


def test_a_released_row_does_not_replace_a_later_one(houston):
    guid = make_customer(houston, "First", middle_name="M" * 61)
    run(JobCode.UPLOAD)
    make_customer(houston, "Second", guid=guid, operation="update")
    run(JobCode.UPLOAD)
    raw = bytes(Quarantine.objects.get().raw)
    Quarantine.objects.update(raw=raw.replace(b"M" * 61, b"M"))

    release_rows([only_case()])
    run(JobCode.PIPELINE)

    assert Customer.objects.get(account_number="005001").first_name == "Second"


def test_two_versions_of_one_row_are_released_one_by_one(houston):
    make_customer(houston, "Ann", middle_name="M" * 61)
    run(JobCode.UPLOAD)
    too_long = Quarantine.objects.get()
    # The till has changed the row since, so that it came once more.
    right = Quarantine.objects.get()
    right.pk, right.payload_hash = None, b"other"
    right.raw = bytes(too_long.raw).replace(b"M" * 61, b"M")
    right.save()

    result = release_rows([str(too_long.pk), str(right.pk)])

    assert (result.done, result.still_open) == (1, [str(too_long.pk)])
    statuses = dict(Quarantine.objects.values_list("pk", "status"))
    assert statuses == {too_long.pk: "open", right.pk: "released"}
    assert AsyncCustomer.objects.get().middle_name == "M"


def test_a_row_that_cannot_be_read_stays_in_quarantine(popup):
    make_customer(popup, occurred_at="yesterday")
    make_customer(popup, first_name=b"\x00\x01")
    run(JobCode.UPLOAD)
    before = set(Quarantine.objects.values_list("reason", "field", "rule"))

    result = release_rows([str(row.pk) for row in Quarantine.objects.all()])

    assert (result.done, len(result.still_open)) == (0, 2)
    assert set(Quarantine.objects.values_list("reason", "field", "rule")) == before


@on_one_engine
def test_a_released_event_that_had_failed_is_pending_again(store):
    NumberSequence.objects.update(largest=5001)
    make_customer(store, "Ann")
    make_customer(store, "Bo")
    run(JobCode.PIPELINE)
    case = only_case()
    NumberSequence.objects.update(largest=5002)

    assert release_rows([case]).done == 1

    assert AsyncCustomer.objects.get(pk=case).status == "pending"


def test_a_correction_adds_an_event_and_keeps_the_row(store, hq_user):
    guid = make_customer(store, "Ann", email="nobody")
    run(JobCode.PIPELINE)
    case, raw = only_case(), bytes(Quarantine.objects.get().raw)

    event_id = correct_event(case, corrected_customer(guid, email="ann@example.com"), by=hq_user)
    run(JobCode.PIPELINE)

    customer = Customer.objects.get(account_number="005001")
    assert (customer.email, customer.guids.get().channel) == ("ann@example.com", store.channel)
    event = AsyncCustomer.objects.get(pk=event_id)
    assert (event.origin, event.corrects, event.made_by) == ("hq", case, hq_user)
    row = Quarantine.objects.get()
    assert (row.status, row.became, bytes(row.raw)) == ("superseded", event_id, raw)
    assert query(store, "SELECT email FROM customer") == [("ann@example.com",)]
    assert broken_promises() == []


@on_one_engine
def test_a_correction_that_breaks_rules_changes_nothing(store):
    guid = make_customer(store, "Ann", email="nobody")
    run(JobCode.UPLOAD)

    with pytest.raises(EventRefused) as refusal:
        correct_event(only_case(), corrected_customer(guid, email="none", phone="none"))

    assert [rule.field for rule in refusal.value.broken] == ["email", "phone"]
    assert (Quarantine.objects.get().status, AsyncCustomer.objects.count()) == ("open", 0)


@on_one_engine
def test_a_correction_cannot_name_an_account_that_does_not_exist(store):
    make_customer(store, "Ann", email="nobody")
    run(JobCode.UPLOAD)

    with pytest.raises(EventRefused, match="account_number"):
        correct_event(only_case(), corrected_customer(None, account_number="005009"))


@on_one_engine
def test_a_row_cannot_be_corrected_twice(store):
    guid = make_customer(store, "Ann", email="nobody")
    run(JobCode.UPLOAD)
    case = only_case()
    correct_event(case, corrected_customer(guid))

    with pytest.raises(ChangedMeanwhile):
        correct_event(case, corrected_customer(guid, first_name="Bo"))


@on_one_engine
def test_a_failed_event_is_superseded_by_its_correction(store):
    ann, bo, address = make_customer(store, "Ann"), make_customer(store, "Bo"), uuid4()
    make_event("address", store, async_account=ann, address_id=address)
    run(JobCode.PIPELINE)
    make_event("address", store, async_account=bo, address_id=address, street="Elm Street")
    run(JobCode.PIPELINE)
    case = only_case()
    assert Case.objects.get(pk=case).reason == "belongs_to_another"

    values = {"operation": "create", "async_account": bo, "address_id": uuid4()}
    correct_event(case, values | {"street": "Elm Street", "purpose": "home"})
    run(JobCode.PIPELINE)

    assert CustomerAddress.objects.get(street="Elm Street").customer.first_name == "Bo"
    failed = AsyncAddress.objects.get(pk=case)
    assert (failed.status, failed.reason) == ("superseded", "corrected")
    assert broken_promises() == []


def test_a_dismissed_row_stays_dismissed_when_it_is_uploaded_again(store, hq_user):
    make_customer(store, email="nobody")
    run(JobCode.UPLOAD)
    dismiss_rows([only_case()], by=hq_user, because="A test till.")
    query(store, "UPDATE async_customer SET acknowledged_at = NULL")

    run(JobCode.UPLOAD)

    row = Quarantine.objects.get()
    assert (row.status, row.settled_by, row.attempts) == ("dismissed", hq_user, 2)


@on_one_engine
def test_a_failed_event_cannot_be_dismissed(store):
    ann, bo, address = make_customer(store, "Ann"), make_customer(store, "Bo"), uuid4()
    for guid in (ann, bo):
        make_event("address", store, async_account=guid, address_id=address)
    run(JobCode.PIPELINE)
    case = only_case()

    assert dismiss_rows([case], because="no").still_open == [case]
    assert Case.objects.get(pk=case).status == "failed"


@pytest.mark.fault("F-49")  # events arrive in another order
@on_one_engine
def test_an_address_without_its_customer_for_a_day_is_listed(store):
    make_event("address", store, async_account=uuid4())
    run(JobCode.PIPELINE)
    assert not Case.objects.unsettled().exists()

    overwrite_events("async_address", "staged_at = staged_at - interval '25 hours'")

    case = Case.objects.get()
    assert (case.status, case.reason) == ("waiting", "parent_missing")
