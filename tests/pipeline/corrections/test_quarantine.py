"""What people do about rows that HQ could not use: release, correct, dismiss."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.utils import timezone

from stores.models import (
    AsyncAddress,
    AsyncCustomer,
    AttributeDefinition,
    Case,
    ChannelDatabase,
    Customer,
    CustomerAddress,
    CustomerAttribute,
    NumberSequence,
    Quarantine,
)
from stores.pipeline.corrections.events import EventRefused
from stores.pipeline.corrections.quarantine import ChangedMeanwhile, correct, dismiss, release
from stores.pipeline.integrity.verify import verify
from tests.support.make import make_customer, make_event, only_case, query, run

pytestmark = pytest.mark.slow


def person(guid: UUID | None, **columns: Any) -> dict[str, Any]:
    """A customer event as a person types it."""
    own = {"operation": "create", "async_account": guid, "customer_type": "person"}
    return own | {"first_name": "Ann", "last_name": "Lee"} | columns


# Release


def test_a_row_passes_once_its_definition_allows_it_and_keeps_its_place(store, desk):
    guid = make_customer(store, "Ann")
    definition = AttributeDefinition.objects.create(
        company=store.channel.company, name="HAT", options=["S"]
    )
    make_event("attribute", store, async_account=guid, attribute="HAT", value="XXL")
    run("pipeline")
    case = only_case()
    assert release([case]).left == [case]

    definition.delete()
    settled = release([case], by=desk, because="Allowed by now.")
    run("pipeline")

    assert (settled.done, settled.left) == (1, [])
    assert CustomerAttribute.objects.get().value == "XXL"
    row = Quarantine.objects.get()
    assert (row.status, row.attempts, row.settled_by) == ("released", 2, desk)
    assert row.settled_because == "Allowed by now."
    assert [check for check in verify() if not check.ok] == []


def test_a_guid_that_has_been_shared_meanwhile_may_be_released(store, seattle):
    guid = make_customer(store, "Ann")
    run("P-0001")
    make_customer(seattle, "Anna", guid=guid, operation="update")
    run("pipeline")

    release([only_case()])
    run("pipeline")

    assert Customer.objects.get(account_number="005001").first_name == "Anna"


def test_a_released_row_counts_in_the_order_in_which_its_till_wrote_it(houston):
    guid = make_customer(houston, "First", middle_name="M" * 61)
    run("P-0001")
    make_customer(houston, "Second", guid=guid, operation="update")
    run("P-0001")
    Quarantine.objects.update(raw=bytes(Quarantine.objects.get().raw).replace(b"M" * 61, b"M"))

    release([only_case()])
    run("pipeline")

    assert Customer.objects.get(account_number="005001").first_name == "Second"


def test_what_no_table_can_hold_stays_with_its_reason(popup):
    make_customer(popup, occurred_at="yesterday")
    make_customer(popup, first_name=b"\x00\x01")
    run("P-0001")
    before = set(Quarantine.objects.values_list("reason", "field", "rule"))

    settled = release([str(row.pk) for row in Quarantine.objects.all()])

    assert (settled.done, len(settled.left)) == (0, 2)
    assert set(Quarantine.objects.values_list("reason", "field", "rule")) == before


def test_a_failed_event_is_tried_again(store):
    NumberSequence.objects.update(largest=5001)
    make_customer(store, "Ann")
    make_customer(store, "Bo")
    run("pipeline")
    case = only_case()
    NumberSequence.objects.update(largest=5002)

    assert release([case]).done == 1

    assert AsyncCustomer.objects.get(pk=case).status == "pending"


# Correct


def test_a_correction_is_an_event_of_hq_and_the_row_stays_as_it_came(store, desk):
    guid = make_customer(store, "Ann", email="nobody")
    run("pipeline")
    case, before = only_case(), bytes(Quarantine.objects.get().raw)

    made = correct(case, person(guid, email="ann@example.com"), by=desk)
    run("pipeline")

    customer = Customer.objects.get(account_number="005001")
    assert (customer.email, customer.guids.get().channel) == ("ann@example.com", store.channel)
    event = AsyncCustomer.objects.get(pk=made)
    assert (event.origin, event.corrects, event.made_by) == ("hq", case, desk)
    row = Quarantine.objects.get()
    assert (row.status, row.became, bytes(row.raw)) == ("superseded", made, before)
    assert query(store, "SELECT email FROM customer") == [("ann@example.com",)]
    assert [check for check in verify() if not check.ok] == []


def test_a_correction_that_breaks_rules_changes_nothing(store):
    guid = make_customer(store, "Ann", email="nobody")
    run("P-0001")

    with pytest.raises(EventRefused) as refused:
        correct(only_case(), person(guid, email="none", phone="none"))

    assert [rule.field for rule in refused.value.broken] == ["email", "phone"]
    assert (Quarantine.objects.get().status, AsyncCustomer.objects.count()) == ("open", 0)


def test_a_correction_cannot_name_an_account_that_is_not_there(store):
    make_customer(store, "Ann", email="nobody")
    run("P-0001")

    with pytest.raises(EventRefused, match="account_number"):
        correct(only_case(), person(None, account_number="005009"))


def test_of_two_who_correct_one_row_the_second_hears_of_the_first(store):
    guid = make_customer(store, "Ann", email="nobody")
    run("P-0001")
    case = only_case()
    correct(case, person(guid))

    with pytest.raises(ChangedMeanwhile):
        correct(case, person(guid, first_name="Bo"))


def test_a_failed_event_gives_way_to_its_correction(store):
    ann, bo, address = make_customer(store, "Ann"), make_customer(store, "Bo"), uuid4()
    make_event("address", store, async_account=ann, address_id=address)
    run("pipeline")
    make_event("address", store, async_account=bo, address_id=address, street="Elm Street")
    run("pipeline")
    case = only_case()
    assert Case.objects.get(pk=case).reason == "belongs_to_another"

    values = {"operation": "create", "async_account": bo, "address_id": uuid4()}
    correct(case, values | {"street": "Elm Street", "purpose": "home"})
    run("pipeline")

    assert CustomerAddress.objects.get(street="Elm Street").customer.first_name == "Bo"
    replaced = AsyncAddress.objects.get(pk=case)
    assert (replaced.status, replaced.reason) == ("superseded", "corrected")
    assert [check for check in verify() if not check.ok] == []


# Dismiss


def test_a_dismissed_row_stays_dismissed_when_it_comes_again(store, desk):
    make_customer(store, email="nobody")
    run("P-0001")
    dismiss([only_case()], by=desk, because="A test till.")
    query(store, "UPDATE async_customer SET acknowledged_at = NULL")

    run("P-0001")

    row = Quarantine.objects.get()
    assert (row.status, row.settled_by, row.attempts) == ("dismissed", desk, 2)


def test_a_failed_event_cannot_be_dismissed(store):
    ann, bo, address = make_customer(store, "Ann"), make_customer(store, "Bo"), uuid4()
    for guid in (ann, bo):
        make_event("address", store, async_account=guid, address_id=address)
    run("pipeline")
    case = only_case()

    assert dismiss([case], because="no").left == [case]
    assert Case.objects.get(pk=case).status == "failed"


# Late


@pytest.mark.fault("F-49")
def test_a_child_whose_customer_is_missing_for_a_day_is_listed(store: ChannelDatabase):
    make_event("address", store, async_account=uuid4())
    run("pipeline")
    assert not Case.objects.unsettled().exists()

    AsyncAddress.objects.update(staged_at=timezone.now() - timedelta(hours=25))

    assert Case.objects.get().status == "waiting"
    assert Case.objects.get().reason == "parent_missing"
