"""Removals and edits made without knowledge of them: what was removed stays removed.

An edit restores what was removed only if its channel had been told of the removal. Any other edit
is applied without restoring anything, and opens a conflict that a person decides.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `popup` is
another store, on SQLite; `web` is a web shop on PostgreSQL; `hq_user` is robin, a user at
headquarters.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from stores.models import AsyncAddress, ChannelDatabase, EditConflict
from stores.models.conflict import ConflictChoice
from stores.models.job import JobCode
from stores.pipeline.corrections.conflict import ConflictRefused, resolve_conflict
from stores.pipeline.corrections.events import create_event
from stores.pipeline.corrections.quarantine import correct_event
from stores.pipeline.events.kinds import CUSTOMER, EVENT_KINDS
from tests.support.conversion import convert, get_ann
from tests.support.damage import checks_failed_by
from tests.support.invariants import Invariant
from tests.support.make import make_customer, make_event, only_case, query, run
from tests.support.promises import broken_promises

pytestmark = pytest.mark.slow

ADDRESS, CONTACT = uuid4(), uuid4()
KEYS: dict[str, dict[str, Any]] = {
    "customer": {},
    "address": {"address_id": ADDRESS},
    "contact": {"contact_id": CONTACT},
    "affiliation": {},
    "attribute": {},
}
EDITS: dict[str, dict[str, Any]] = {
    "customer": {"first_name": "Anna"},
    "address": {"city": "Austin"},
    "contact": {"locator": "new@example.com"},
    "affiliation": {},
    "attribute": {"value": "XL"},
}
ALL_ACTIVE = dict.fromkeys(KEYS, True)
ALL_REMOVED = dict.fromkeys(KEYS, False)


def ago(minutes: float) -> datetime:
    return timezone.now() - timedelta(minutes=minutes)


@pytest.fixture
def ann(houston, popup) -> UUID:
    """Ann with an address, a contact, an affiliation and an attribute, known to both stores."""
    guid = make_customer(houston, "Ann", occurred_at=ago(60))
    for kind in ("address", "contact", "affiliation", "attribute"):
        make_event(kind, houston, async_account=guid, occurred_at=ago(60), **KEYS[kind])
    run(JobCode.PIPELINE)
    return guid


def change_all(shop: ChannelDatabase, guid: UUID, operation: str, minutes: float = 0) -> None:
    """Write one event for the customer and for each of her parts, so many minutes ago."""
    for kind in KEYS:
        values = {"operation": operation, "occurred_at": ago(minutes)} | KEYS[kind] | EDITS[kind]
        make_event(kind, shop, async_account=guid, **values)


def active_at_hq() -> dict[str, bool]:
    """Whether HQ holds Ann and each of her parts as active."""
    customer = get_ann()
    return {
        "customer": customer.is_active,
        "address": customer.addresses.get().is_active,
        "contact": customer.contacts.get().is_active,
        "affiliation": customer.affiliations.get().is_active,
        "attribute": customer.attributes.get().is_active,
    }


def active_in(shop: ChannelDatabase) -> dict[str, bool]:
    """Whether the channel holds Ann and each of her parts as active."""
    active = {}
    for kind in EVENT_KINDS:
        statement = f"SELECT is_active FROM {kind.table} WHERE account_number = '005001'"  # noqa: S608
        [(is_active,)] = query(shop, statement)
        active[kind.noun] = bool(is_active)
    return active


def tables_in_conflict() -> set[str]:
    return set(EditConflict.objects.open().values_list("table", flat=True))


def remove_then_edit(store: ChannelDatabase, other: ChannelDatabase, ann: UUID) -> None:
    change_all(store, ann, "deactivate", 20)
    convert()
    change_all(other, ann, "update")
    run(JobCode.PIPELINE)


def edit_then_remove(store: ChannelDatabase, other: ChannelDatabase, ann: UUID) -> None:
    """The edit is the later one, but HQ reads it first."""
    change_all(other, ann, "update", 10)
    convert()
    assert active_at_hq() == ALL_ACTIVE
    change_all(store, ann, "deactivate", 20)
    run(JobCode.PIPELINE)


@pytest.fixture(params=["houston", "popup"])
def stores(request, houston, popup) -> tuple[ChannelDatabase, ChannelDatabase]:
    """The store that removes and the one that edits; the test runs once for each order of them."""
    return (houston, popup) if request.param == "houston" else (popup, houston)


@pytest.mark.finding(id="P19")
@pytest.mark.parametrize("remove_and_edit", [remove_then_edit, edit_then_remove])
def test_an_edit_does_not_undo_a_removal_unknown_to_its_channel(stores, ann, remove_and_edit):
    store, other = stores
    remove_and_edit(store, other, ann)

    assert active_at_hq() == ALL_REMOVED
    assert active_in(store) == ALL_REMOVED
    assert active_in(other) == ALL_REMOVED
    # The other values of the edit are applied.
    customer = get_ann()
    assert customer.first_name == "Anna"
    assert customer.addresses.get().city == "Austin"
    assert customer.attributes.get().value == "XL"
    assert tables_in_conflict() == {kind.event for kind in EVENT_KINDS}
    places = {(row.kept_place, row.lost_place) for row in EditConflict.objects.open()}
    assert places == {(store.label, other.label)}
    assert run(JobCode.PIPELINE)["outcome"] == "nothing_to_do"
    assert broken_promises() == []


@pytest.mark.finding(id="P19")
def test_a_removed_row_reactivated_by_hand_fails_a_check(houston, popup, ann):
    remove_then_edit(houston, popup, ann)

    assert Invariant.LATEST_EVENT_IS_SHOWN in checks_failed_by(
        "UPDATE customer SET is_active = true"
    )
    assert Invariant.LATEST_EVENT_IS_SHOWN in checks_failed_by(
        "UPDATE customer_address SET is_active = true"
    )


def decide(hq_user: User) -> None:
    """Decide every open conflict: restore Ann and her address, and leave the rest removed."""
    for conflict in EditConflict.objects.open().order_by("pk"):
        conflict.customer.refresh_from_db()
        if conflict.table in ("async_customer", "async_address"):
            version = conflict.customer.hq_version
            resolve_conflict(
                conflict, ConflictChoice.TAKE, "Asked her.", version=version, by=hq_user
            )
        else:
            assert conflict.settle(ConflictChoice.KEEP, "Asked her.", by=hq_user)


@pytest.mark.finding(id="P19")
@pytest.mark.parametrize("remove_and_edit", [remove_then_edit, edit_then_remove])
def test_a_person_decides_what_is_restored(houston, popup, ann, hq_user, remove_and_edit):
    remove_and_edit(houston, popup, ann)

    decide(hq_user)

    assert active_at_hq() == ALL_REMOVED | {"customer": True, "address": True}
    assert tables_in_conflict() == set()


@pytest.mark.finding(id="P19")
@pytest.mark.parametrize("remove_and_edit", [remove_then_edit, edit_then_remove])
def test_an_edit_after_a_decision_restores_everything(
    houston, popup, ann, hq_user, remove_and_edit
):
    remove_and_edit(houston, popup, ann)
    decide(hq_user)
    # Seattle is sent the decisions.
    run(JobCode.PIPELINE)

    change_all(popup, ann, "update")
    run(JobCode.PIPELINE)

    assert active_at_hq() == ALL_ACTIVE
    assert active_in(houston) == ALL_ACTIVE
    assert tables_in_conflict() == set()


@pytest.mark.finding(id="P19")
def test_an_edit_of_the_remover_after_a_decision_opens_no_conflict(houston, popup, ann, hq_user):
    remove_then_edit(houston, popup, ann)
    decide(hq_user)
    run(JobCode.PIPELINE)

    make_event("customer", houston, async_account=ann, operation="update", phone="555 555")
    run(JobCode.PIPELINE)

    assert get_ann().is_active
    assert tables_in_conflict() == set()
    assert broken_promises() == []


@pytest.mark.finding(id="P19")
def test_one_decision_settles_every_edit_unaware_of_the_removal(houston, popup, web, hq_user):
    ann = make_customer(houston, "Ann", occurred_at=ago(60))
    run(JobCode.PIPELINE)
    make_event("customer", houston, async_account=ann, operation="deactivate")
    convert()
    for shop, phone in ((popup, "222 222"), (web, "333 333"), (popup, "444 444")):
        make_event("customer", shop, async_account=ann, operation="update", phone=phone)
        convert()
    assert (get_ann().is_active, get_ann().phone) == (False, "444 444")
    assert EditConflict.objects.open().of_removals().count() == 3

    first = EditConflict.objects.open().of_removals().order_by("pk")[0]
    assert first.settle(ConflictChoice.KEEP, "She wants to be left alone.", by=hq_user)

    assert not EditConflict.objects.open().exists()


@pytest.mark.finding(id="P19")
def test_an_edit_aware_of_the_removal_restores_for_all(houston, popup, ann):
    change_all(houston, ann, "deactivate", 30)
    convert()
    # HQ reads the edit of popup first, though the houston wrote its own before.
    change_all(popup, ann, "update", 10)
    run(JobCode.UPLOAD, channels=["popup"])
    run(JobCode.CONVERT)
    assert tables_in_conflict()

    change_all(houston, ann, "update", 20)
    convert()

    assert active_at_hq() == ALL_ACTIVE
    assert tables_in_conflict() == set()
    choices = EditConflict.objects.of_removals().values_list("choice", flat=True)
    assert set(choices) == {"back"}
    assert broken_promises() == []


@pytest.mark.parametrize("choice", [ConflictChoice.KEEP, ConflictChoice.TAKE])
def test_a_person_cannot_decide_what_an_edit_has_just_restored(
    houston, popup, ann, hq_user, choice
):
    remove_then_edit(houston, popup, ann)
    conflict = EditConflict.objects.get(table="async_customer", field="is_active")
    seen_version = conflict.customer.hq_version
    change_all(houston, ann, "update")
    convert()

    with pytest.raises(ConflictRefused):
        resolve_conflict(conflict, choice, "Asked her.", version=seen_version, by=hq_user)

    conflict.refresh_from_db()
    assert conflict.choice == ConflictChoice.RESTORED
    assert get_ann().is_active


@pytest.mark.finding(id="P19")
def test_an_edit_does_not_undo_a_removal_at_headquarters(houston, popup, ann, hq_user):
    removal = {"operation": "deactivate", "account_number": "005001"}
    with transaction.atomic():
        create_event(houston.channel.company, CUSTOMER, removal, by=hq_user)
    run(JobCode.CONVERT)
    make_event("customer", popup, async_account=ann, operation="update", phone="222 222")

    convert()

    assert active_at_hq() == ALL_ACTIVE | {"customer": False}
    assert EditConflict.objects.open().get().kept_place == "headquarters"


@pytest.mark.finding(id="P19")
def test_a_till_restores_what_it_removed_itself(houston, popup, ann):
    change_all(houston, ann, "deactivate", 20)
    change_all(houston, ann, "update", 10)

    convert()

    assert active_at_hq() == ALL_ACTIVE
    assert not EditConflict.objects.exists()


@pytest.mark.finding(id="A7")
def test_a_corrected_address_without_country_gets_its_channel_s(houston, hq_user):
    houston.channel.country = "NLD"
    houston.channel.save()
    ann = make_customer(houston, "Ann")
    make_event("address", houston, async_account=ann, county="far too long for HQ", country=None)
    run(JobCode.PIPELINE)

    values = {"operation": "create", "async_account": ann, "address_id": ADDRESS, "city": "Delft"}
    correct_event(only_case(), values, by=hq_user)
    run(JobCode.PIPELINE)

    address = get_ann().addresses.get()
    assert (address.city, address.country) == ("Delft", "NLD")
    assert AsyncAddress.objects.get().country is None
    assert query(houston, "SELECT country FROM customer_address") == [("NLD",)]
