"""Events that are made in HQ: the same rules, the same order, the same statements as a till's."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from stores.models import AsyncCustomer, ChannelDatabase, Customer, CustomerAddress, CustomerContact
from stores.pipeline.convert.accounts import import_account
from stores.pipeline.corrections.events import EventRefused, create_event
from stores.pipeline.events.kinds import ADDRESS, CONTACT, CUSTOMER, EventKind
from stores.pipeline.integrity.verify import verify
from tests.support.make import make_customer, query, run
from tests.support.make import make_event as write_event

pytestmark = pytest.mark.slow

NOW = timezone.now()
EARLIER = NOW - timedelta(hours=1)


def ann() -> Customer:
    return Customer.objects.get(account_number="005001")


@pytest.fixture
def known(store) -> UUID:
    """The GUID of Ann, who has her account."""
    guid = make_customer(store, "Ann", occurred_at=EARLIER)
    run("pipeline")
    return guid


def edit(kind: EventKind = CUSTOMER, /, *, by: User | None = None, **values: Any) -> UUID:
    """An edit of Ann that a person makes in HQ now."""
    own = {"operation": "update", "account_number": "005001"}
    if kind is CUSTOMER:
        own["last_name"] = "Lee"
    with transaction.atomic():
        return create_event(ann().company, kind, own | values, by=by)


def edit_at_till(store: ChannelDatabase, guid: UUID, first_name: str, **columns: Any) -> None:
    """An edit that a till makes."""
    columns |= {"async_account": guid, "operation": "update", "first_name": first_name}
    write_event("customer", store, **columns)


def history() -> dict[str, str]:
    """The first name that each operation gave, and what became of it."""
    return dict(AsyncCustomer.objects.values_list("first_name", "status"))


def test_an_edit_made_in_hq_is_applied_and_distributed(store, seattle, known):
    edit(first_name="Anna")

    found = run("pipeline")

    assert ann().first_name == "Anna"
    assert found["counts"]["updated"] == 1
    for channel in (store, seattle):
        assert query(channel, "SELECT first_name FROM customer") == [("Anna",)]


@pytest.mark.fault("F-50")
@pytest.mark.parametrize("is_converted_between", [False, True])
def test_of_a_till_edit_and_a_later_one_in_hq_the_later_wins(store, known, is_converted_between):
    edit_at_till(store, known, "Till")
    run("P-0001")
    if is_converted_between:
        run("sync-customers")
    edit(first_name="Dee")

    run("pipeline")

    assert ann().first_name == "Dee"
    assert "Till" in history()


@pytest.mark.fault("F-50")
@pytest.mark.parametrize("is_converted_between", [False, True])
def test_of_an_edit_in_hq_and_a_later_one_at_a_till_the_later_wins(
    store, known, is_converted_between
):
    edit(first_name="Dee")
    if is_converted_between:
        run("sync-customers")
    edit_at_till(store, known, "Till")

    run("pipeline")

    assert ann().first_name == "Till"
    assert "Dee" in history()


@pytest.mark.fault("F-50")
def test_a_till_edit_older_than_one_in_hq_arrives_too_late(store, known):
    edit(first_name="Dee")
    run("sync-customers")
    edit_at_till(store, known, "Till", occurred_at=EARLIER + timedelta(minutes=1))

    run("pipeline")

    assert ann().first_name == "Dee"
    assert history()["Till"] == "superseded"


def test_the_later_of_two_edits_in_hq_wins_also_in_one_run(store, known):
    edit(first_name="Anna")
    edit(first_name="Annie")

    run("pipeline")
    assert ann().first_name == "Annie"

    edit(first_name="Ann-Lee")
    run("pipeline")
    assert ann().first_name == "Ann-Lee"


def test_an_account_that_no_till_made_can_be_edited(store):
    import_account(store.channel.company, "VIP-1", last_name="Old")
    with transaction.atomic():
        create_event(
            store.channel.company,
            CUSTOMER,
            {"operation": "update", "account_number": "VIP-1", "last_name": "New"},
        )

    run("pipeline")

    assert Customer.objects.get(account_number="VIP-1").last_name == "New"


def test_hq_adds_an_address_and_takes_it_away_again(store, known):
    address = {"address_id": UUID(int=7), "street": "Main Street", "is_primary": True}
    edit(ADDRESS, operation="create", **address)
    run("pipeline")
    assert CustomerAddress.objects.get().is_active

    edit(ADDRESS, operation="deactivate", **address)
    run("pipeline")
    assert not CustomerAddress.objects.get().is_active
    [(active,)] = query(store, "SELECT is_active FROM customer_address")
    assert not active


def test_a_primary_contact_of_hq_demotes_that_of_the_till(store, known):
    write_event("contact", store, async_account=known, is_primary=True, locator="old@example.com")
    run("pipeline")
    contact = {"contact_id": UUID(int=7), "kind": "email", "locator": "new@example.com"}
    edit(CONTACT, operation="create", is_primary=True, **contact)

    run("pipeline")

    primary = dict(CustomerContact.objects.values_list("locator", "is_primary"))
    assert primary == {"old@example.com": False, "new@example.com": True}


def test_an_event_that_breaks_rules_is_refused_with_all_of_them(known):
    with pytest.raises(EventRefused) as refused:
        edit(email="nobody", phone="none", first_name="A" * 61)

    assert {(rule.field, rule.code) for rule in refused.value.broken} == {
        ("email", "email_format"),
        ("phone", "phone_format"),
        ("first_name", "too_long"),
    }
    assert not AsyncCustomer.objects.filter(origin="hq").exists()


def test_who_edited_is_told_in_the_trace(store, known, command):
    edit(first_name="Anna", by=User.objects.create_user("robin"))
    run("pipeline")

    told = command("trace", "005001")

    assert "headquarters Customer edited: first_name, by robin." in " ".join(told.split())


def test_every_promise_holds_with_events_of_hq(store, known):
    edit(first_name="Anna")
    run("pipeline")

    assert [check for check in verify() if not check.ok] == []
