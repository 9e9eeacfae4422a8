"""Conversion normalizes the values of events and fills in those that are missing.

From conftest.py: `store` is a store, once on PostgreSQL and once on SQLite; `popup` is one on
SQLite; `register` registers a channel by its code; `ann` is the GUID of Ann, a customer of popup
who has the account 005001.
"""

from uuid import uuid4

import pytest

from stores.models import (
    AsyncCustomer,
    Customer,
    CustomerAddress,
    CustomerAffiliation,
    CustomerAttribute,
    CustomerContact,
    Quarantine,
)
from tests.support.conversion import convert, get_ann
from tests.support.make import make_customer, make_event


@pytest.mark.slow
def test_texts_are_trimmed_and_composed_and_email_domains_lowercased(store):
    make_customer(
        store,
        " A\u0308nn\t",
        last_name="\r\nLee ",
        email=" Ann.LEE@Example.COM ",
        receipt_email="Ann@EXAMPLE.com",
    )

    convert()

    customer = get_ann()
    assert (customer.first_name, customer.last_name) == ("\u00c4nn", "Lee")
    assert (customer.email, customer.receipt_email) == ("Ann.LEE@example.com", "Ann@example.com")


def test_spaces_within_a_name_are_kept(store):
    make_customer(store, "Ann  Mary\u00a0Lou", last_name="Lee\u200dLi")

    convert()

    assert (get_ann().first_name, get_ann().last_name) == ("Ann  Mary\u00a0Lou", "Lee\u200dLi")


@pytest.mark.slow
def test_a_text_too_long_after_normalization_does_not_stop_others(store):
    # Normalization makes two characters of each, so it is twice as long as any name may be.
    text = "\u0958" * Customer._meta.get_field("first_name").max_length
    make_customer(store, text)
    make_customer(store, "Bo")
    make_event("address", store, async_account=make_customer(store, "Cy"), city=text)

    conversion = convert()

    assert conversion["outcome"] == "succeeded"
    assert set(Quarantine.objects.values_list("reason", "field")) == {
        ("too_long", "first_name"),
        ("too_long", "city"),
    }
    created = Customer.objects.exclude(number=None).values_list("first_name", flat=True)
    assert set(created) == {"Bo", "Cy"}


def test_email_domains_are_lowercased_but_urls_are_not(store):
    guid = make_customer(store, "Ann")
    make_event("contact", store, async_account=guid, locator="Ann@EXAMPLE.com")
    make_event("contact", store, async_account=guid, kind="url", locator="http://EXAMPLE.com/@A")

    convert()

    assert set(CustomerContact.objects.values_list("locator", flat=True)) == {
        "Ann@example.com",
        "http://EXAMPLE.com/@A",
    }


def test_an_address_without_purpose_and_country_gets_defaults(register):
    store = register("houston", country="USA")
    person = make_customer(store, "Ann")
    organization = make_customer(store, customer_type="organization", name="Bo Ltd")
    for guid in (person, organization):
        make_event("address", store, async_account=guid, purpose=None, country="")

    convert()

    addresses = CustomerAddress.objects.values_list("customer__customer_type", "purpose", "country")
    assert set(addresses) == {("person", "home", "USA"), ("organization", "business", "USA")}


def test_a_new_customer_inherits_empty_values_from_the_default_customer(store):
    default = store.channel.default_customer
    Customer.objects.filter(pk=default.pk).update(
        customer_group="30", currency="USD", language="en-us"
    )
    CustomerAffiliation.objects.create(customer=default, affiliation="STAFF")
    CustomerAffiliation.objects.create(customer=default, affiliation="OLD", is_active=False)
    make_customer(store, "Ann", customer_group="40", currency="")

    convert()

    customer = get_ann()
    assert (customer.customer_group, customer.currency, customer.language) == ("40", "USD", "en-us")
    assert customer.affiliations.get().affiliation == "STAFF"


def test_a_customer_without_a_type_is_a_person(store):
    make_customer(store, "Ann", customer_type=None)

    convert()

    assert get_ann().customer_type == "person"


def test_an_affiliation_that_is_inherited_and_sent_is_kept_once(store):
    CustomerAffiliation.objects.create(customer=store.channel.default_customer, affiliation="STAFF")
    guid = make_customer(store, "Ann")
    make_event("affiliation", store, async_account=guid, affiliation=" STAFF ")

    convert()

    assert get_ann().affiliations.get().affiliation == "STAFF"


def test_the_last_value_of_an_attribute_is_kept(store):
    guid = make_customer(store, "Ann")
    for value in ("S", "M", "L"):
        make_event("attribute", store, async_account=guid, value=value)

    convert()

    assert CustomerAttribute.objects.get().value == "L"


@pytest.mark.slow
def test_each_purpose_has_one_primary_address(popup, ann):
    first, second = uuid4(), uuid4()
    primary = {"async_account": ann, "is_primary": True}
    make_event("address", popup, **primary, address_id=first)
    make_event("address", popup, **primary, address_id=second, purpose="business")
    convert()
    # The first moves to the purpose of the second, and a third takes the place that it leaves.
    make_event("address", popup, **primary, address_id=first, purpose="business", city="First")
    make_event("address", popup, **primary, address_id=uuid4(), purpose="home", city="Third")

    conversion = convert()

    assert conversion["outcome"] == "succeeded"
    primary_addresses = CustomerAddress.objects.filter(is_primary=True)
    assert set(primary_addresses.values_list("purpose", "city")) == {
        ("business", "First"),
        ("home", "Third"),
    }
    assert primary_addresses.get(purpose="business").pk == first


@pytest.mark.slow
def test_a_primary_address_that_was_removed_can_be_primary_again(popup, ann):
    first, second = uuid4(), uuid4()
    primary = {"async_account": ann, "is_primary": True}
    make_event("address", popup, **primary, address_id=first)
    make_event("address", popup, **primary, address_id=first, operation="deactivate")
    make_event("address", popup, **primary, address_id=second)
    convert()
    make_event("address", popup, **primary, address_id=first, operation="update")

    convert()

    assert CustomerAddress.objects.get(is_primary=True, is_active=True).pk == first


@pytest.mark.slow
def test_a_deactivated_customer_is_active_again_after_an_update(popup, ann):
    make_event("customer", popup, async_account=ann, operation="deactivate")
    convert()
    assert not get_ann().is_active
    make_event("customer", popup, async_account=ann, operation="update", first_name="Ann")

    convert()

    assert get_ann().is_active
    assert set(AsyncCustomer.objects.values_list("status", flat=True)) == {"applied"}
    # The one that created Ann, the deactivation and the update.
    assert AsyncCustomer.objects.count() == 3
