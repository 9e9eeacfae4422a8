"""Conversion applies each event to the customer that it names, and to no other.

From conftest.py: `houston` and `seattle` are stores on PostgreSQL; `popup` is one on SQLite; `ann`
is the GUID of Ann, a customer of popup who has the account 005001; `command` calls a management
command and returns its output.
"""

from uuid import uuid4

import pytest

from stores.models import (
    AsyncAddress,
    AsyncCustomer,
    Customer,
    CustomerAddress,
    CustomerAffiliation,
    CustomerContact,
    NumberSequence,
)
from stores.models.job import JobCode
from stores.pipeline.convert.accounts import import_account
from tests.support.conversion import convert, get_ann
from tests.support.make import make_customer, make_event, pending, run


@pytest.mark.slow
@pytest.mark.parametrize("named_by", ["guid", "account", "both"])
def test_an_edit_names_its_customer_by_guid_account_or_both(popup, seattle, ann, named_by):
    names = {
        "guid": {"async_account": ann},
        "account": {"account_number": "005001"},
        "both": {"async_account": ann, "account_number": "005001"},
    }[named_by]
    make_event("customer", popup, operation="update", first_name="Anna", **names)
    make_event("address", popup, **names)
    make_event("affiliation", popup, **names)

    conversion = convert()

    assert get_ann().first_name == "Anna"
    assert CustomerAddress.objects.get().customer == get_ann()
    assert CustomerAffiliation.objects.get().customer == get_ann()
    assert conversion["counts"]["updated"] >= 1
    assert Customer.objects.exclude(number=None).count() == 1


@pytest.mark.slow
def test_a_changed_customer_is_pending_for_every_channel(popup, seattle, ann):
    run(JobCode.DOWNLOAD)
    make_event("customer", popup, async_account=ann, operation="update", first_name="Anna")

    convert()

    assert get_ann().hq_version == 2
    assert pending(popup) == pending(seattle) == ["005001"]


@pytest.mark.slow
def test_an_edit_whose_guid_and_account_name_two_customers_fails(popup, ann):
    import_account(popup.channel.company, "004009", first_name="Bo")
    make_event(
        "customer",
        popup,
        operation="update",
        async_account=ann,
        account_number="004009",
        first_name="Mixed",
    )

    conversion = convert()

    event = AsyncCustomer.objects.get(first_name="Mixed")
    assert event.status == "failed"
    assert (event.reason, event.field) == ("identity_mismatch", "account_number")
    assert conversion["counts"]["failed"] == 1
    assert not Customer.objects.filter(first_name="Mixed").exists()


@pytest.mark.slow
def test_a_guid_that_a_channel_was_sent_does_not_excuse_another_account(houston, seattle, command):
    ann, bob = sorted([uuid4(), uuid4()])
    early = make_event("address", seattle, async_account=ann, account_number="005002")
    convert()
    make_customer(houston, "Ann", guid=ann)
    make_customer(houston, "Bob", guid=bob)
    convert()
    assert AsyncAddress.objects.get().reason == "guid_conflict"
    run(JobCode.DOWNLOAD)

    command("quarantine", "release", str(early))
    convert()

    assert AsyncAddress.objects.get().reason == "identity_mismatch"
    assert not CustomerAddress.objects.exists()


@pytest.mark.slow
def test_an_address_of_one_customer_cannot_be_taken_by_another(popup, ann):
    address_id = uuid4()
    make_event("address", popup, async_account=ann, address_id=address_id, city="Ann's")
    convert()
    bo = make_customer(popup, "Bo")
    make_event("address", popup, async_account=bo, address_id=address_id, city="Bo's")

    convert()

    address = CustomerAddress.objects.get()
    assert (address.customer, address.city) == (get_ann(), "Ann's")
    event = AsyncAddress.objects.get(city="Bo's")
    assert event.status == "failed"
    assert (event.reason, event.field) == ("belongs_to_another", "address_id")


@pytest.mark.slow
@pytest.mark.parametrize("are_new", [True, False])
def test_two_customers_with_one_address_do_not_stop_others(popup, are_new):
    ann, bo, cy = (make_customer(popup, name) for name in ("Ann", "Bo", "Cy"))
    if not are_new:
        convert()
    address_id = uuid4()
    make_event("address", popup, async_account=ann, address_id=address_id)
    make_event("address", popup, async_account=bo, address_id=address_id)
    make_event("address", popup, async_account=cy)

    conversion = convert()

    assert conversion["outcome"] == "succeeded"
    assert Customer.objects.exclude(number=None).count() == 3
    assert CustomerAddress.objects.count() == 2
    statuses = AsyncAddress.objects.values_list("status", flat=True)
    assert sorted(statuses) == ["applied", "applied", "failed"]


@pytest.mark.slow
def test_an_address_that_two_customers_name_stays_with_its_owner(popup, ann):
    address_id = uuid4()
    make_event("address", popup, async_account=ann, address_id=address_id, city="At first")
    bo = make_customer(popup, "Bo")
    convert()
    make_event("address", popup, async_account=bo, address_id=address_id, city="Bo's")
    make_event("address", popup, async_account=ann, address_id=address_id, city="Ann's")

    convert()

    address = CustomerAddress.objects.get()
    assert (address.city, address.customer) == ("Ann's", get_ann())
    events = AsyncAddress.objects.values_list("city", "status")
    assert set(events) == {("At first", "applied"), ("Bo's", "failed"), ("Ann's", "applied")}


@pytest.mark.slow
def test_a_contact_of_two_new_customers_belongs_to_one(popup):
    contact = uuid4()
    for name in ("Ann", "Bo"):
        make_event("contact", popup, async_account=make_customer(popup, name), contact_id=contact)

    conversion = convert()

    assert conversion["outcome"] == "succeeded"
    assert CustomerContact.objects.count() == 1


def test_an_address_of_a_failed_customer_says_so(popup):
    NumberSequence.objects.update(largest=5000)
    guid = make_customer(popup, "Ann")
    make_event("address", popup, async_account=guid)

    convert()

    assert AsyncCustomer.objects.get().reason == "sequence_exhausted"
    assert AsyncAddress.objects.get().reason == "parent_failed"


@pytest.mark.slow
def test_an_address_of_a_quarantined_customer_waits_for_the_correction(popup):
    guid = make_customer(popup, "Ann", email="nobody")
    make_event("address", popup, async_account=guid)
    convert()
    assert AsyncAddress.objects.get().reason == "parent_failed"
    make_customer(popup, "Ann", guid=guid, email="ann@example.com")

    convert()

    address = AsyncAddress.objects.get()
    assert (address.status, address.reason) == ("applied", None)


def test_an_edit_of_an_unknown_account_waits_and_says_so(popup):
    make_event("address", popup, account_number="005777")

    conversion = convert()

    assert AsyncAddress.objects.get().reason == "account_unknown"
    assert conversion["counts"] == {"waiting": 1}
    assert conversion["outcome"] == "nothing_to_do"
