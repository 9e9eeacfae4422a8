"""Staged events become customers of HQ: once, in the right order, each on the right account."""

import threading
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connections
from django.utils import timezone

from stores.models import (
    AsyncAddress,
    AsyncCustomer,
    Customer,
    CustomerAddress,
    CustomerAffiliation,
    CustomerAttribute,
    CustomerContact,
    Delivery,
    GuidMap,
    NumberSequence,
)
from stores.pipeline.convert.accounts import import_account
from tests.support.make import make_customer, make_event, run

NOW = timezone.now()
EARLIER, LATER = NOW - timedelta(hours=2), NOW - timedelta(hours=1)


def ann() -> Customer:
    return Customer.objects.get(account_number="005001")


def convert() -> dict[str, Any]:
    """Bring everything up and convert it."""
    run("P-0001")
    return run("sync-customers")


@pytest.fixture
def known(store) -> UUID:
    """The GUID of Ann, who has her account."""
    guid = make_customer(store, "Ann", occurred_at=EARLIER)
    convert()
    return guid


def statuses(guid: UUID) -> list[str]:
    events = AsyncCustomer.objects.filter(async_account=guid)
    return list(events.order_by("replication_counter").values_list("status", flat=True))


# Once


@pytest.mark.slow
def test_converting_twice_is_the_same_as_once(store):
    guid = make_customer(store, "Ann")
    for kind in ("address", "contact", "affiliation", "attribute"):
        make_event(kind, store, async_account=guid)
    convert()
    before = Customer.objects.values_list("account_number", "hq_version", "modified_at").get(
        number=5001
    )

    found = run("sync-customers")

    assert found["outcome"] == "nothing_to_do"
    assert before == Customer.objects.values_list(
        "account_number", "hq_version", "modified_at"
    ).get(number=5001)
    assert NumberSequence.objects.get().next == 5002


@pytest.mark.slow
def test_two_conversions_at_once_number_without_gap_and_double(store, seattle):
    for number in range(40):
        make_customer(store, f"Ann {number}")
    run("P-0001")
    barrier = threading.Barrier(2)

    def work(job: str) -> None:
        barrier.wait(30)
        run(job)
        connections.close_all()

    threads = [threading.Thread(target=work, args=[job]) for job in ("sync-customers", "pipeline")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    convert()

    numbers = Customer.objects.exclude(number=None).order_by("number")
    assert list(numbers.values_list("number", flat=True)) == list(range(5001, 5041))
    assert GuidMap.objects.count() == 40


def test_accounts_are_given_in_the_order_of_the_guids(store):
    guids = sorted(make_customer(store, f"Ann {number}") for number in range(5))

    convert()

    mapped = GuidMap.objects.order_by("customer__number").values_list("async_account", flat=True)
    assert list(mapped) == guids


# Order


@pytest.mark.slow
def test_an_older_edit_that_arrives_late_is_superseded(store, seattle, known):
    run("1010")
    make_event("customer", store, async_account=known, operation="update", first_name="Anna")
    convert()
    make_event(
        "customer",
        seattle,
        async_account=known,
        operation="update",
        first_name="Old",
        occurred_at=EARLIER + timedelta(minutes=1),
    )

    convert()

    assert ann().first_name == "Anna"
    assert AsyncCustomer.objects.get(first_name="Old").status == "superseded"


@pytest.mark.slow
def test_an_older_edit_of_an_address_that_arrives_late_is_superseded(store, seattle, known):
    address = uuid4()
    run("1010")
    named = {"async_account": known, "address_id": address}
    make_event("address", store, **named, city="New", occurred_at=LATER)
    convert()
    make_event("address", seattle, **named, city="Old", occurred_at=EARLIER)

    convert()

    assert CustomerAddress.objects.get().city == "New"
    assert AsyncAddress.objects.get(city="Old").status == "superseded"


@pytest.mark.slow
def test_the_order_in_which_channels_are_read_does_not_matter(houston, seattle):
    guid = make_customer(houston, "Ann", occurred_at=EARLIER)
    run("pipeline")
    for channel, name, at in ((seattle, "Last", NOW), (houston, "First", LATER)):
        make_event(
            "customer",
            channel,
            async_account=guid,
            operation="update",
            first_name=name,
            occurred_at=at,
        )
        convert()

    assert ann().first_name == "Last"
    assert AsyncCustomer.objects.get(first_name="First").status == "superseded"


@pytest.mark.slow
def test_of_one_channel_the_later_row_wins_whatever_the_clock_says(store, known):
    for name, at in (("First", NOW), ("Last", EARLIER)):
        make_event(
            "customer",
            store,
            async_account=known,
            operation="update",
            first_name=name,
            occurred_at=at,
        )
        convert()

    assert ann().first_name == "Last"


# Whose event it is


@pytest.mark.slow
@pytest.mark.parametrize("named_by", ["guid", "account", "both"])
def test_an_edit_lands_on_the_account_however_it_is_named(store, seattle, known, named_by):
    names = {"async_account": known, "account_number": "005001"}
    if named_by == "guid":
        names["account_number"] = None
    if named_by == "account":
        names["async_account"] = None
    make_event("customer", store, operation="update", first_name="Anna", **names)
    make_event("address", store, **names)
    make_event("affiliation", store, **names)

    found = convert()

    assert ann().first_name == "Anna"
    assert CustomerAddress.objects.get().customer == ann()
    assert CustomerAffiliation.objects.get().customer == ann()
    assert found["counts"]["updated"] >= 1
    assert Customer.objects.exclude(number=None).count() == 1


@pytest.mark.slow
def test_a_changed_customer_is_owed_to_every_database(store, seattle, known):
    run("1010")
    make_event("customer", store, async_account=known, operation="update", first_name="Anna")

    convert()

    assert ann().hq_version == 2
    owed = Delivery.objects.owed().values_list("database__channel__code", "version")
    assert set(owed) == {(store.channel.code, 2), ("seattle", 2)}


@pytest.mark.slow
def test_an_edit_whose_guid_and_account_are_of_two_customers_fails(store, known):
    import_account(store.channel.company, "004009", first_name="Bo")
    make_event(
        "customer",
        store,
        operation="update",
        async_account=known,
        account_number="004009",
        first_name="Mixed",
    )

    found = convert()

    event = AsyncCustomer.objects.get(first_name="Mixed")
    assert (event.status, event.reason, event.field) == (
        "failed",
        "identity_mismatch",
        "account_number",
    )
    assert found["counts"]["failed"] == 1
    assert not Customer.objects.filter(first_name="Mixed").exists()


@pytest.mark.slow
def test_an_address_that_belongs_to_another_customer_stays_there(store, known):
    address = uuid4()
    make_event("address", store, async_account=known, address_id=address)
    convert()
    bo = make_customer(store, "Bo")
    make_event("address", store, async_account=bo, address_id=address, city="Seattle")

    convert()

    assert CustomerAddress.objects.get().customer == ann()
    assert CustomerAddress.objects.get().city == "Houston"
    event = AsyncAddress.objects.get(city="Seattle")
    assert (event.status, event.reason, event.field) == (
        "failed",
        "belongs_to_another",
        "address_id",
    )


@pytest.mark.slow
@pytest.mark.parametrize("are_new", [True, False])
def test_one_address_id_of_two_customers_at_once_does_not_stop_the_others(store, are_new):
    names = ("Ann", "Bo", "Cy")
    guids = [make_customer(store, name) for name in names]
    if not are_new:
        convert()
    address = uuid4()
    for guid in guids[:2]:
        make_event("address", store, async_account=guid, address_id=address)
    make_event("address", store, async_account=guids[2])

    found = convert()

    assert found["outcome"] == "succeeded"
    assert Customer.objects.exclude(number=None).count() == 3
    assert CustomerAddress.objects.count() == 2
    assert sorted(AsyncAddress.objects.values_list("status", flat=True)) == [
        "applied",
        "applied",
        "failed",
    ]


@pytest.mark.slow
def test_of_two_known_customers_who_name_one_address_its_owner_keeps_it(store, known):
    address = uuid4()
    make_event("address", store, async_account=known, address_id=address)
    bo = make_customer(store, "Bo")
    convert()
    make_event("address", store, async_account=bo, address_id=address, city="Bo's")
    make_event("address", store, async_account=known, address_id=address, city="Ann's")

    convert()

    assert (CustomerAddress.objects.get().city, CustomerAddress.objects.get().customer) == (
        "Ann's",
        ann(),
    )
    found = AsyncAddress.objects.values_list("city", "status")
    assert set(found) == {("Houston", "applied"), ("Bo's", "failed"), ("Ann's", "applied")}


@pytest.mark.slow
def test_one_contact_id_of_two_new_customers_belongs_to_one(store):
    contact = uuid4()
    for name in ("Ann", "Bo"):
        make_event("contact", store, async_account=make_customer(store, name), contact_id=contact)

    found = convert()

    assert found["outcome"] == "succeeded"
    assert CustomerContact.objects.count() == 1


def test_what_belongs_to_a_customer_who_failed_says_so(store):
    NumberSequence.objects.update(largest=5000)
    guid = make_customer(store, "Ann")
    make_event("address", store, async_account=guid)

    convert()

    assert AsyncCustomer.objects.get().reason == "sequence_exhausted"
    assert AsyncAddress.objects.get().reason == "parent_failed"


@pytest.mark.slow
def test_what_belongs_to_a_quarantined_customer_waits_until_it_is_corrected(store):
    guid = make_customer(store, "Ann", email="nobody")
    make_event("address", store, async_account=guid)
    convert()
    assert AsyncAddress.objects.get().reason == "parent_failed"
    make_customer(store, "Ann", guid=guid, email="ann@example.com")

    convert()

    address = AsyncAddress.objects.get()
    assert (address.status, address.reason) == ("applied", None)


def test_an_edit_of_an_account_that_nobody_has_waits_and_says_so(store):
    make_event("address", store, account_number="005777")

    found = convert()

    assert AsyncAddress.objects.get().reason == "account_unknown"
    assert found["counts"] == {"waiting": 1}
    assert found["outcome"] == "nothing_to_do"


# Values


@pytest.mark.slow
def test_texts_are_trimmed_composed_and_mail_domains_are_in_small_letters(store):
    make_customer(
        store,
        " Zoe\u0308\t",
        last_name="\r\nLee ",
        email=" Ann.LEE@Example.COM ",
        receipt_email="Ann@EXAMPLE.com",
    )

    convert()

    customer = ann()
    assert (customer.first_name, customer.last_name) == ("Zo\u00eb", "Lee")
    assert (customer.email, customer.receipt_email) == ("Ann.LEE@example.com", "Ann@example.com")


def test_what_stands_within_a_name_is_left_alone(store):
    make_customer(store, "Ann  Mary\u00a0Lou", last_name="Lee\u200dLi")

    convert()

    assert (ann().first_name, ann().last_name) == ("Ann  Mary\u00a0Lou", "Lee\u200dLi")


@pytest.mark.slow
def test_a_text_that_grows_when_it_is_composed_stops_nobody(store):
    grows = "\u0958" * 60
    make_customer(store, grows)
    make_customer(store, "Bo")
    make_event("address", store, async_account=make_customer(store, "Cy"), city=grows)

    found = convert()

    assert found["outcome"] == "succeeded"
    assert {"Bo", "Cy"} <= set(Customer.objects.values_list("first_name", flat=True))


def test_the_mail_of_a_contact_is_tidied_and_other_locators_are_not_lowered(store):
    guid = make_customer(store, "Ann")
    make_event("contact", store, async_account=guid, locator="Ann@EXAMPLE.com")
    make_event("contact", store, async_account=guid, kind="url", locator="http://EXAMPLE.com/@A")

    convert()

    assert set(CustomerContact.objects.values_list("locator", flat=True)) == {
        "Ann@example.com",
        "http://EXAMPLE.com/@A",
    }


def test_an_address_without_purpose_and_country_gets_those_of_its_kind_and_channel(register):
    store = register("houston", country="USA")
    person = make_customer(store, "Ann")
    firm = make_customer(store, customer_type="organization", name="Bo Ltd")
    for guid in (person, firm):
        make_event("address", store, async_account=guid, purpose=None, country="")

    convert()

    found = CustomerAddress.objects.values_list("customer__customer_type", "purpose", "country")
    assert set(found) == {("person", "home", "USA"), ("organization", "business", "USA")}


def test_a_new_customer_inherits_what_it_leaves_open_from_the_default_customer(store):
    default = store.channel.default_customer
    Customer.objects.filter(pk=default.pk).update(
        customer_group="30", currency="USD", language="en-us"
    )
    CustomerAffiliation.objects.create(customer=default, affiliation="STAFF")
    CustomerAffiliation.objects.create(customer=default, affiliation="GONE", is_active=False)
    make_customer(store, "Ann", customer_group="40", currency="", customer_type=None)

    convert()

    customer = ann()
    assert (customer.customer_group, customer.currency, customer.language) == ("40", "USD", "en-us")
    assert customer.customer_type == "person"
    assert [held.affiliation for held in customer.affiliations.all()] == ["STAFF"]


def test_an_affiliation_that_was_inherited_and_sent_is_held_once(store):
    CustomerAffiliation.objects.create(customer=store.channel.default_customer, affiliation="STAFF")
    guid = make_customer(store, "Ann")
    make_event("affiliation", store, async_account=guid, affiliation=" STAFF ")

    convert()

    assert [held.affiliation for held in ann().affiliations.all()] == ["STAFF"]


def test_the_last_value_of_an_attribute_counts(store):
    guid = make_customer(store, "Ann")
    for value in ("S", "M", "L"):
        make_event("attribute", store, async_account=guid, value=value)

    convert()

    assert CustomerAttribute.objects.get().value == "L"


@pytest.mark.slow
def test_one_purpose_has_one_primary_address_whatever_is_sent(store, known):
    first, second = uuid4(), uuid4()
    named = {"async_account": known, "is_primary": True}
    make_event("address", store, **named, address_id=first)
    make_event("address", store, **named, address_id=second, purpose="business")
    convert()
    # The first moves to the purpose of the second, and a third takes the place that it leaves.
    make_event("address", store, **named, address_id=first, purpose="business")
    make_event("address", store, **named, address_id=uuid4(), city="Third")

    found = convert()

    assert found["outcome"] == "succeeded"
    primaries = CustomerAddress.objects.filter(is_primary=True)
    assert set(primaries.values_list("purpose", "city")) == {
        ("business", "Houston"),
        ("home", "Third"),
    }
    assert primaries.get(purpose="business").pk == first


@pytest.mark.slow
def test_a_primary_address_that_was_removed_makes_room_and_may_come_back(store, known):
    first, second = uuid4(), uuid4()
    named = {"async_account": known, "is_primary": True}
    make_event("address", store, **named, address_id=first)
    make_event("address", store, **named, address_id=first, operation="deactivate")
    make_event("address", store, **named, address_id=second)
    convert()
    make_event("address", store, **named, address_id=first, operation="update")

    convert()

    assert CustomerAddress.objects.get(is_primary=True, is_active=True).pk == first


@pytest.mark.slow
def test_a_customer_who_comes_back_is_active_again(store, known):
    make_event("customer", store, async_account=known, operation="deactivate")
    convert()
    assert not ann().is_active
    make_event("customer", store, async_account=known, operation="update", first_name="Ann")

    convert()

    assert ann().is_active
    assert statuses(known) == ["applied", "applied", "applied"]
