"""Events with reserved GUIDs, oversized or unprintable texts stop no other event.

From conftest.py: `houston` is a store on PostgreSQL; `store` is a store, once on PostgreSQL and
once on SQLite.
"""

from collections import Counter
from uuid import UUID, uuid4

import pytest

from stores.models import (
    Case,
    Customer,
    CustomerAddress,
    CustomerAttribute,
    Quarantine,
    RetailTransaction,
)
from stores.models.job import JobCode
from tests.support.make import article, make_customer, make_event, make_sale, run
from tests.support.staged import overwrite_events

pytestmark = pytest.mark.slow

NIL_UUID, MAX_UUID = UUID(int=0), UUID(int=2**128 - 1)


@pytest.mark.finding(id="V10")
def test_events_with_a_reserved_guid_are_quarantined(store):
    good = make_customer(store, "Good")
    make_customer(store, guid=NIL_UUID)
    make_customer(store, guid=MAX_UUID)
    make_customer(store, event_id=NIL_UUID)
    make_event("address", store, async_account=good, address_id=NIL_UUID)
    make_event("contact", store, async_account=good, contact_id=NIL_UUID)
    make_event("affiliation", store, async_account=NIL_UUID)
    make_sale(store, async_account=NIL_UUID)
    make_sale(store, event_id=NIL_UUID)
    make_sale(store, delivery_address_id=NIL_UUID)

    result = run("pipeline")

    assert result["outcome"] == "succeeded"
    assert {case.reason for case in Case.objects.unsettled()} == {"guid_reserved"}
    assert Quarantine.objects.count() == 9
    assert Customer.objects.filter(guids__async_account=good).exists()


@pytest.mark.finding(id="V10")
def test_a_staged_customer_with_the_nil_guid_is_converted(houston):
    make_customer(houston, "Old")
    run(JobCode.UPLOAD)
    overwrite_events("async_customer", f"async_account = '{NIL_UUID}'")

    run("sync-customers")

    assert Customer.objects.filter(guids__async_account=NIL_UUID).exists()


@pytest.mark.finding(id="S9")
@pytest.mark.finding(id="S11")
def test_oversized_values_and_unprintable_keys_are_quarantined(store):
    good = make_customer(store, "Good")
    make_event("attribute", store, async_account=good, attribute="A", value="x" * 1001)
    make_event("attribute", store, async_account=good, attribute="B", value="ü" * 1000)
    make_event("attribute", store, async_account=good, attribute="C\nD")
    make_event("affiliation", store, async_account=good, affiliation="A\tB")
    make_sale(store, transaction_id="T\n1")
    make_sale(store, transaction_id="T-2", confirmation_number="C\x1b1")
    make_sale(store, transaction_id="T-3", lines=[article(item_id="A\r\nB")])
    make_sale(store, transaction_id="T-4", receipt_number="R\x7f1")
    make_sale(store, transaction_id="../../admin/")

    run("pipeline")

    reasons = Counter(case.reason for case in Case.objects.unsettled())
    assert reasons == {"too_long": 1, "unprintable": 6}
    assert CustomerAttribute.objects.get().attribute == "B"
    assert RetailTransaction.objects.get().transaction_id == "../../admin/"


@pytest.mark.finding(id="V14b")
def test_an_address_id_stays_with_the_first_of_two_customers(houston):
    known = make_customer(houston, "Known")
    run("pipeline")
    address_id = uuid4()
    make_event("address", houston, async_account=known, address_id=address_id, city="First")
    new = make_customer(houston, "New")
    make_event("address", houston, async_account=new, address_id=address_id, city="Second")

    run("pipeline")

    assert CustomerAddress.objects.get().city == "First"
    case = Case.objects.unsettled().get()
    assert (case.reason, case.field) == ("belongs_to_another", "address_id")
