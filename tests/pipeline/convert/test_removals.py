"""What was removed stays removed, unless somebody who knew it brings it back."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import transaction
from django.utils import timezone

from stores.models import (
    AsyncAddress,
    ChannelDatabase,
    Customer,
    EditConflict,
)
from stores.models.conflict import Choice
from stores.pipeline.corrections.customer import use_other_value
from stores.pipeline.corrections.events import create_event as make_hq_event
from stores.pipeline.corrections.quarantine import correct_event
from stores.pipeline.events.kinds import CUSTOMER, EVENT_KINDS
from stores.pipeline.integrity.verify import verify
from tests.support.damage import broken_by
from tests.support.make import make_customer, make_event, only_case, query, run

pytestmark = pytest.mark.slow

ADDRESS, CONTACT = uuid4(), uuid4()
# What an edit says; each kind has a word that tells that it arrived.
PARTS: dict[str, dict[str, Any]] = {
    "customer": {"first_name": "Anna"},
    "address": {"address_id": ADDRESS, "city": "Austin"},
    "contact": {"contact_id": CONTACT, "locator": "new@example.com"},
    "affiliation": {},
    "attribute": {"value": "XL"},
}


@pytest.fixture
def ann(store, seattle) -> UUID:
    """Ann, whom both stores know with all that is hers."""
    guid = make_customer(store, "Ann", occurred_at=ago(60))
    for kind, own in list(PARTS.items())[1:]:
        ids = {name: value for name, value in own.items() if name.endswith("_id")}
        make_event(kind, store, async_account=guid, occurred_at=ago(60), **ids)
    run("pipeline")
    return guid


def ago(minutes: float) -> Any:
    return timezone.now() - timedelta(minutes=minutes)


def in_all(shop: ChannelDatabase, guid: UUID, operation: str, minutes: float = 0) -> None:
    """One event of each kind, so many minutes ago."""
    for kind, own in PARTS.items():
        how = {"operation": operation, "occurred_at": ago(minutes)}
        make_event(kind, shop, async_account=guid, **(own | how))


def convert() -> None:
    run("P-0001")
    run("sync-customers")


def held() -> dict[str, bool]:
    """Whether each of Ann's things is active at HQ."""
    ann = Customer.objects.get(account_number="005001")
    parts = (ann.addresses, ann.contacts, ann.affiliations, ann.attributes)
    return dict(zip(PARTS, [ann.is_active, *(part.get().is_active for part in parts)], strict=True))


def in_channel(shop: ChannelDatabase) -> set[bool]:
    """Whether Ann's things are active in a channel."""
    tables = ["customer", *(f"customer_{kind}" for kind in list(PARTS)[1:])]
    statement = "SELECT is_active FROM {} WHERE account_number = '005001'"
    return {bool(row[0]) for table in tables for row in query(shop, statement.format(table))}


def open_conflicts() -> set[str]:
    return set(EditConflict.objects.open().values_list("table", flat=True))


EVERY = {kind.event for kind in EVENT_KINDS}
GONE, THERE = dict.fromkeys(PARTS, False), dict.fromkeys(PARTS, True)


@pytest.mark.parametrize("is_removal_first", [True, False])
def test_p19_an_edit_that_had_not_seen_a_removal_does_not_undo_it(
    store, seattle, ann, hq_user, is_removal_first
):
    if is_removal_first:
        in_all(store, ann, "deactivate", 20)
        convert()
        in_all(seattle, ann, "update")
        run("pipeline")
    else:
        # The edit arrives first, though it is the later one.
        in_all(seattle, ann, "update", 10)
        convert()
        assert held() == THERE
        in_all(store, ann, "deactivate", 20)
        run("pipeline")

    assert held() == GONE
    assert in_channel(store) == in_channel(seattle) == {False}
    assert open_conflicts() == EVERY
    # What else the edit says is there.
    customer = Customer.objects.get(account_number="005001")
    assert customer.first_name == "Anna"
    assert customer.addresses.get().city == "Austin"
    assert customer.attributes.get().value == "XL"
    places = {(row.kept_place, row.lost_place) for row in EditConflict.objects.open()}
    assert places == {(store.label, "seattle")}
    assert run("pipeline")["outcome"] == "nothing_to_do"
    assert [check.id for check in verify() if not check.ok] == []

    for kind in EVENT_KINDS[: 2 * is_removal_first]:
        assert "I10" in broken_by(f"UPDATE {kind.table} SET is_active = true")  # noqa: S608

    # A person restores the customer and the address, and leaves the rest.
    for conflict in EditConflict.objects.open().order_by("pk"):
        is_restored = conflict.table in ("async_customer", "async_address")
        conflict.customer.refresh_from_db()
        if is_restored:
            seen = conflict.customer.hq_version
            assert use_other_value(conflict, "Asked her.", version=seen, by=hq_user)
        else:
            assert conflict.settle(Choice.KEEP, "Asked her.", by=hq_user)
    assert held() == GONE | {"customer": True, "address": True}
    assert open_conflicts() == set()

    # Who was given the removal, and adds again, knew of it.
    run("pipeline")
    in_all(seattle, ann, "update")
    run("pipeline")
    assert held() == THERE
    assert in_channel(store) == {True}
    assert open_conflicts() == set()
    # An edit of another moment does not bring the question up again.
    make_event("customer", store, async_account=ann, operation="update", phone="555 555")
    run("pipeline")
    assert held() == THERE
    assert [check.id for check in verify() if not check.ok] == []


def test_p19_every_unseen_edit_is_kept_out_and_one_decision_is_enough(store, seattle, web, hq_user):
    ann = make_customer(store, "Ann", occurred_at=ago(60))
    run("pipeline")
    make_event("customer", store, async_account=ann, operation="deactivate")
    convert()
    for shop, phone in ((seattle, "222 222"), (web, "333 333"), (seattle, "444 444")):
        make_event("customer", shop, async_account=ann, operation="update", phone=phone)
        convert()

    customer = Customer.objects.get(account_number="005001")
    assert (customer.is_active, customer.phone) == (False, "444 444")
    assert EditConflict.objects.open().of_removals().count() == 3

    first = EditConflict.objects.open().of_removals().order_by("pk")[0]
    assert first.settle(Choice.KEEP, "She wants to be left alone.", by=hq_user)
    assert not EditConflict.objects.open().exists()


def test_p19_who_had_seen_the_removal_answers_for_those_who_had_not(store, seattle, ann):
    in_all(store, ann, "deactivate", 30)
    convert()
    # Written last and fetched first; what the store wrote before it comes later.
    in_all(seattle, ann, "update", 10)
    run("P-0001", channels=[seattle.channel.code])
    run("sync-customers")
    assert open_conflicts()
    in_all(store, ann, "update", 20)
    convert()

    assert held() == THERE
    assert not open_conflicts()
    assert set(EditConflict.objects.of_removals().values_list("choice", flat=True)) == {"back"}
    assert [check.id for check in verify() if not check.ok] == []


def test_p19_a_person_at_headquarters_counts_as_well(store, seattle, ann, hq_user):
    # Removed at headquarters, and a till edits before it is told.
    values = {"operation": "deactivate", "account_number": "005001"}
    with transaction.atomic():
        make_hq_event(store.channel.company, CUSTOMER, values, by=hq_user)
    run("sync-customers")
    make_event("customer", seattle, async_account=ann, operation="update", phone="222 222")
    convert()

    assert held() == THERE | {"customer": False}
    assert EditConflict.objects.open().get().kept_place == "headquarters"


def test_p19_a_till_brings_back_what_it_removed_itself(store, seattle, ann):
    in_all(store, ann, "deactivate", 20)
    in_all(store, ann, "update", 10)
    convert()

    assert held() == THERE
    assert not EditConflict.objects.exists()


def test_a7_an_address_that_is_corrected_gets_the_country_of_its_channel(register, hq_user):
    store = register("houston")
    store.channel.country = "NLD"
    store.channel.save()
    ann = make_customer(store, "Ann")
    wrong = make_event(
        "address", store, async_account=ann, county="far too long for HQ", country=None
    )
    run("pipeline")
    assert wrong

    values = {"operation": "create", "async_account": ann, "address_id": ADDRESS, "city": "Delft"}
    correct_event(only_case(), values, by=hq_user)
    run("pipeline")

    [address] = Customer.objects.get(account_number="005001").addresses.all()
    assert (address.city, address.country) == ("Delft", "NLD")
    assert AsyncAddress.objects.get().country is None
    assert query(store, "SELECT country FROM customer_address") == [("NLD",)]
