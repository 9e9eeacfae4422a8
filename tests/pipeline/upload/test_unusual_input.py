"""Events that are unusual: upload and conversion treat each as the contract says.

Each is written between a thousand good customers, all of whom are converted.

From conftest.py: `houston` and `seattle` are stores on PostgreSQL; `popup` is a store on SQLite;
`store` is a store, once on PostgreSQL and once on SQLite; `boss` is a client of an administrator.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID, uuid4

import pytest
from django.utils.html import escape

from stores.models import (
    AsyncCustomer,
    ChannelDatabase,
    Customer,
    CustomerAddress,
    CustomerAffiliation,
    CustomerAttribute,
    CustomerContact,
    GuidMap,
    Quarantine,
)
from stores.models.job import JobCode
from stores.pipeline.events.kinds import CHILDREN
from stores.pipeline.events.rules import STAGING_MODELS
from stores.traffic.faults import FAMILY, FLAG, IDEOGRAPH
from tests.support.make import make_customer, make_event, make_many, query, run, unacknowledged
from tests.support.pages import text_of
from tests.support.promises import broken_promises

pytestmark = pytest.mark.slow

MARKUP = ("<script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>{{ 7*7 }}")
UNUSUAL_NAMES = [
    (FAMILY, f"{FLAG}{IDEOGRAPH}"),
    ("小明", "王"),
    ("ليلى", "כהן"),
    MARKUP,
    ("Robert'); DROP TABLE customer;--", "tab\tnew\nline\\N"),
]


@contextmanager
def between_good_customers(database: ChannelDatabase) -> Iterator[None]:
    """Write 500 good customers before and after the events of the block."""
    make_many(database, 500, last_name="Good")
    yield
    make_many(database, 500, last_name="Good")


def assert_good_customers_are_converted(database: ChannelDatabase) -> None:
    good = Customer.objects.filter(last_name="Good", number__isnull=False)
    assert good.count() == 1_000
    assert unacknowledged(database) == 0
    assert broken_promises() == []


@pytest.mark.scenario(id="A1")
def test_a_row_without_an_event_id_has_its_counter(popup):
    with between_good_customers(popup):
        make_customer(popup, event_id="till-9-1")

    run(JobCode.PIPELINE)

    assert_good_customers_are_converted(popup)
    statement = "SELECT replication_counter FROM async_customer WHERE event_id = 'till-9-1'"
    [(counter,)] = query(popup, statement)
    case = Quarantine.objects.get()
    assert (case.table, case.row_key, case.event_id) == ("async_customer", str(counter), None)


@pytest.mark.scenario(id="A2")
def test_a_guid_in_another_notation_is_not_the_same(popup):
    guid = uuid4()
    with between_good_customers(popup):
        make_customer(popup, "Ann", guid=guid)
        make_customer(popup, "Bo", guid=f"{{{guid}}}")

    run(JobCode.PIPELINE)

    assert_good_customers_are_converted(popup)
    assert GuidMap.objects.get(pk=guid).customer.first_name == "Ann"
    assert not AsyncCustomer.objects.filter(first_name="Bo").exists()


@pytest.mark.scenario(id="A3")
def test_of_two_events_with_one_id_the_first_is_kept(popup, seattle):
    event_id = uuid4()
    make_customer(popup, "First", event_id=event_id)
    run(JobCode.UPLOAD, channels=[popup.channel.code])
    with between_good_customers(seattle):
        make_customer(seattle, "Second", event_id=event_id)

    run(JobCode.PIPELINE)

    assert_good_customers_are_converted(seattle)
    assert AsyncCustomer.objects.get(event_id=event_id).first_name == "First"
    case = Quarantine.objects.get()
    assert (case.reason, case.field, case.event_id) == ("event_conflict", "event_id", event_id)
    assert json.loads(bytes(case.raw))["first_name"] == "Second"


@pytest.mark.scenario(id="A4")
def test_another_channel_s_guid_that_was_never_sent_is_quarantined(popup, seattle):
    guid = make_customer(popup, "Ann")
    run(JobCode.UPLOAD)
    with between_good_customers(seattle):
        make_customer(seattle, "Eve", guid=guid)

    run(JobCode.PIPELINE)

    assert_good_customers_are_converted(seattle)
    case = Quarantine.objects.get()
    assert (case.reason, case.field, case.database) == ("guid_conflict", "async_account", seattle)
    assert GuidMap.objects.get(pk=guid).customer.first_name == "Ann"


@pytest.mark.scenario(id="A6")
def test_every_character_arrives_at_hq_and_in_every_channel(store, seattle):
    with between_good_customers(store):
        for first_name, last_name in UNUSUAL_NAMES:
            make_customer(store, first_name, last_name=last_name)

    run(JobCode.PIPELINE)

    assert_good_customers_are_converted(store)
    customers = Customer.objects.exclude(number=None).exclude(last_name="Good")
    assert sorted(customers.values_list("first_name", "last_name")) == sorted(UNUSUAL_NAMES)
    statement = "SELECT first_name, last_name FROM customer WHERE last_name <> 'Good'"
    for channel in (store, seattle):
        assert sorted(query(channel, statement)) == sorted(UNUSUAL_NAMES)


@pytest.fixture
def markup(houston) -> UUID:
    """A customer whose name is HTML, with an account; and the same one in quarantine."""
    first_name, last_name = MARKUP
    with between_good_customers(houston):
        guid = make_customer(houston, first_name, last_name=last_name)
        make_customer(houston, first_name, last_name=last_name, email="nobody")
    run(JobCode.PIPELINE)
    assert_good_customers_are_converted(houston)
    return guid


@pytest.mark.scenario(id="A7")
def test_markup_in_a_name_is_escaped_on_pages_with_names(markup, boss):
    account = GuidMap.objects.get(pk=markup).customer.account_number
    case = Quarantine.objects.get().pk

    for path in (f"/customers/{account}/", f"/customers/?q={account}", f"/quarantine/{case}/"):
        page = boss.get(path).content.decode()
        for name in MARKUP:
            assert escape(name) in page, path
            assert name not in page, path


@pytest.mark.scenario(id="A7")
def test_markup_in_a_name_is_on_no_other_page(markup, boss):
    for path in ("/", f"/trace/{markup}/", "/async-customers/", "/runs/"):
        page = text_of(boss.get(path))

        for name in MARKUP:
            assert name not in page, path


@pytest.mark.scenario(id="A10")
def test_an_empty_consent_means_no(store, seattle):
    with between_good_customers(store):
        guid = make_customer(store, "Ann")
        make_event("contact", store, async_account=guid, marketing_opt_in=None)

    run(JobCode.PIPELINE)

    assert_good_customers_are_converted(store)
    assert CustomerContact.objects.get().marketing_opt_in is False
    for channel in (store, seattle):
        [(consent,)] = query(channel, "SELECT marketing_opt_in FROM customer_contact")
        assert consent in (False, 0)


@pytest.mark.scenario(id="B1")
def test_parts_that_arrive_before_their_customer_wait_for_it(popup):
    guid = uuid4()
    with between_good_customers(popup):
        for kind in CHILDREN:
            make_event(kind.noun, popup, async_account=guid)

    run(JobCode.PIPELINE)

    assert_good_customers_are_converted(popup)
    for kind in CHILDREN:
        event = STAGING_MODELS[kind.noun].objects.get()
        assert (event.status, event.reason) == ("pending", "parent_missing")

    make_customer(popup, "Ann", guid=guid)
    run(JobCode.PIPELINE)

    customer = GuidMap.objects.get(pk=guid).customer
    for model in (CustomerAddress, CustomerContact, CustomerAffiliation, CustomerAttribute):
        assert model.objects.get().customer == customer


@pytest.mark.scenario(id="B2")
def test_of_two_primary_addresses_the_later_is_primary(houston):
    with between_good_customers(houston):
        ann, bo = make_customer(houston, "Ann"), make_customer(houston, "Bo")
        make_event("address", houston, async_account=ann, is_primary=True, city="Old")
        make_event("address", houston, async_account=bo, is_primary=True, city="Old")
        make_event("address", houston, async_account=bo, is_primary=True, city="New")
        # Ann's second address comes in a later upload, that of Bo in the same one.
        run(JobCode.PIPELINE)
        make_event("address", houston, async_account=ann, is_primary=True, city="New")

    run(JobCode.PIPELINE)

    assert_good_customers_are_converted(houston)
    assert CustomerAddress.objects.count() == 4
    primary = CustomerAddress.objects.filter(is_primary=True)
    assert set(primary.values_list("customer__first_name", "city")) == {
        ("Ann", "New"),
        ("Bo", "New"),
    }
    statement = "SELECT city FROM customer_address WHERE is_primary"
    assert query(houston, statement) == [("New",), ("New",)]


@pytest.mark.scenario(id="B3")
def test_an_edit_by_guid_after_conversion_changes_the_account(popup):
    guid, address_id = make_customer(popup, "Ann"), uuid4()
    make_event("address", popup, async_account=guid, address_id=address_id, city="Old")
    run(JobCode.PIPELINE)
    edit = {"operation": "update", "async_account": guid}
    with between_good_customers(popup):
        make_event("customer", popup, **edit, first_name="Anna")
        make_event("address", popup, **edit, address_id=address_id, city="New")

    run(JobCode.PIPELINE)

    assert_good_customers_are_converted(popup)
    customer = Customer.objects.get(account_number="005001")
    assert (customer.first_name, customer.addresses.get().city) == ("Anna", "New")
    assert Customer.objects.exclude(number=None).count() == 1_001
