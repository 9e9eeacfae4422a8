"""Events that a person creates at HQ follow the rules and the order of those from tills.

From conftest.py: `seattle` is a store on PostgreSQL; `popup` is one on SQLite; `command` calls a
management command and returns its output.
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from stores.models import AsyncCustomer, ChannelDatabase, Customer, CustomerAddress, CustomerContact
from stores.models.job import JobCode
from stores.pipeline.convert.accounts import import_account
from stores.pipeline.corrections.events import EventRefused, create_event
from stores.pipeline.events.kinds import ADDRESS, CONTACT, CUSTOMER, EventKind
from tests.support.conversion import get_ann
from tests.support.make import make_customer, make_event, query, run
from tests.support.promises import broken_promises

pytestmark = pytest.mark.slow

EARLIER = timezone.now() - timedelta(hours=1)
ANNS_ACCOUNT = "005001"


@pytest.fixture
def ann(popup) -> UUID:
    """The GUID of Ann, who has the account 005001."""
    guid = make_customer(popup, "Ann", occurred_at=EARLIER)
    run(JobCode.PIPELINE)
    return guid


def edit_at_hq(kind: EventKind = CUSTOMER, /, *, by: User | None = None, **values: Any) -> None:
    """Create an event about Ann at HQ, now."""
    event = {"operation": "update", "account_number": ANNS_ACCOUNT}
    if kind is CUSTOMER:
        event["last_name"] = "Lee"
    with transaction.atomic():
        create_event(get_ann().company, kind, event | values, by=by)


def edit_at_till(store: ChannelDatabase, guid: UUID, first_name: str, **columns: Any) -> None:
    make_event(
        "customer",
        store,
        async_account=guid,
        operation="update",
        first_name=first_name,
        **columns,
    )


def test_an_edit_at_hq_is_applied_and_distributed(popup, seattle, ann):
    edit_at_hq(first_name="Anna")

    pipeline = run(JobCode.PIPELINE)

    assert get_ann().first_name == "Anna"
    assert pipeline["counts"]["updated"] == 1
    for channel in (popup, seattle):
        assert query(channel, "SELECT first_name FROM customer") == [("Anna",)]


@pytest.mark.fault("F-50")  # HQ and a channel edit the same customer
@pytest.mark.parametrize("is_converted_between", [False, True])
def test_an_edit_at_hq_replaces_a_till_s_earlier_one(popup, ann, is_converted_between):
    edit_at_till(popup, ann, "Till")
    run(JobCode.UPLOAD)
    if is_converted_between:
        run(JobCode.CONVERT)
    edit_at_hq(first_name="Headquarters")

    run(JobCode.PIPELINE)

    assert get_ann().first_name == "Headquarters"
    assert AsyncCustomer.objects.filter(first_name="Till").exists()


@pytest.mark.fault("F-50")  # HQ and a channel edit the same customer
@pytest.mark.parametrize("is_converted_between", [False, True])
def test_an_edit_at_a_till_replaces_hq_s_earlier_one(popup, ann, is_converted_between):
    edit_at_hq(first_name="Headquarters")
    if is_converted_between:
        run(JobCode.CONVERT)
    edit_at_till(popup, ann, "Till")

    run(JobCode.PIPELINE)

    assert get_ann().first_name == "Till"
    assert AsyncCustomer.objects.filter(first_name="Headquarters").exists()


@pytest.mark.fault("F-50")  # HQ and a channel edit the same customer
def test_a_till_s_edit_is_superseded_by_hq_s_later_one(popup, ann):
    edit_at_hq(first_name="Headquarters")
    run(JobCode.CONVERT)
    edit_at_till(popup, ann, "Till", occurred_at=EARLIER + timedelta(minutes=1))

    run(JobCode.PIPELINE)

    assert get_ann().first_name == "Headquarters"
    assert AsyncCustomer.objects.get(first_name="Till").status == "superseded"


def test_the_later_of_two_edits_at_hq_is_kept(popup, ann):
    edit_at_hq(first_name="Anna")
    edit_at_hq(first_name="Annie")

    run(JobCode.PIPELINE)
    assert get_ann().first_name == "Annie"

    edit_at_hq(first_name="Ann-Lee")
    run(JobCode.PIPELINE)
    assert get_ann().first_name == "Ann-Lee"


def test_an_imported_account_can_be_edited(popup):
    import_account(popup.channel.company, "VIP-1", last_name="Old")
    with transaction.atomic():
        create_event(
            popup.channel.company,
            CUSTOMER,
            {"operation": "update", "account_number": "VIP-1", "last_name": "New"},
        )

    run(JobCode.PIPELINE)

    assert Customer.objects.get(account_number="VIP-1").last_name == "New"


def test_hq_adds_an_address_and_removes_it_again(popup, ann):
    address = {"address_id": UUID(int=7), "street": "Main Street", "is_primary": True}
    edit_at_hq(ADDRESS, operation="create", **address)
    run(JobCode.PIPELINE)
    assert CustomerAddress.objects.get().is_active

    edit_at_hq(ADDRESS, operation="deactivate", **address)
    run(JobCode.PIPELINE)
    assert not CustomerAddress.objects.get().is_active
    [(active,)] = query(popup, "SELECT is_active FROM customer_address")
    assert not active


def test_a_primary_contact_from_hq_replaces_a_till_s(popup, ann):
    make_event("contact", popup, async_account=ann, is_primary=True, locator="old@example.com")
    run(JobCode.PIPELINE)
    contact = {"contact_id": UUID(int=7), "kind": "email", "locator": "new@example.com"}
    edit_at_hq(CONTACT, operation="create", is_primary=True, **contact)

    run(JobCode.PIPELINE)

    primary = dict(CustomerContact.objects.values_list("locator", "is_primary"))
    assert primary == {"old@example.com": False, "new@example.com": True}


def test_a_refused_event_names_every_rule_that_it_breaks(ann):
    with pytest.raises(EventRefused) as refusal:
        edit_at_hq(email="nobody", phone="none", first_name="A" * 61)

    assert {(rule.field, rule.code) for rule in refusal.value.broken} == {
        ("email", "email_format"),
        ("phone", "phone_format"),
        ("first_name", "too_long"),
    }
    assert not AsyncCustomer.objects.filter(origin="hq").exists()


def test_the_trace_names_the_user_who_edited(popup, ann, command):
    edit_at_hq(first_name="Anna", by=User.objects.create_user("robin"))
    run(JobCode.PIPELINE)

    output = command("trace", ANNS_ACCOUNT)

    assert "headquarters Customer edited: first_name, by robin." in " ".join(output.split())


def test_events_of_hq_pass_every_check(popup, ann):
    edit_at_hq(first_name="Anna")
    run(JobCode.PIPELINE)

    assert broken_promises() == []
