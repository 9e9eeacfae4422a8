"""Synchronizing orders: each customer order of a till becomes one sales order of an account."""

from datetime import date
from uuid import uuid4

import pytest
from django.contrib.auth.models import User

from stores.models import Customer, GuidMap, RetailTransaction, SalesOrder
from stores.pipeline.corrections.quarantine import correct_event
from stores.pipeline.corrections.sale import lease_transaction
from tests.support.make import make_customer, make_event, make_sale, only_case, run

pytestmark = pytest.mark.slow

DAY = date(2026, 11, 20)


def make_order(store, number, **columns):
    """Write a customer order with a confirmation number, by default of a guest."""
    make_sale(
        store,
        transaction_type="customer_order",
        confirmation_number=number,
        business_date=DAY,
        **columns,
    )


def status_and_reason(number):
    order = RetailTransaction.objects.get(confirmation_number=number)
    return order.order_status, order.order_reason


def customer_of(guid):
    return GuidMap.objects.get(async_account=guid).customer


def test_t7_an_order_converts_its_customer_and_delivery_address(store):
    ann, home = make_customer(store), uuid4()
    make_event("address", store, async_account=ann, address_id=home)
    make_order(store, "W-1", async_account=ann, delivery_address_id=home, delivery_mode="HOME")
    run("P-0001")

    synchronization = run("sync-orders")

    order = SalesOrder.objects.get()
    assert synchronization["outcome"] == "succeeded"
    assert order.customer == customer_of(ann)
    assert order.delivery_address_id == home
    assert order.number == "SO-000001"
    assert status_and_reason("W-1") == ("succeeded", None)
    # The customer is converted once.
    assert run("sync-customers")["outcome"] == "nothing_to_do"
    assert Customer.objects.filter(number__isnull=False).count() == 1


def test_t7_an_order_converts_a_new_address_of_a_known_customer(store):
    ann, work = make_customer(store), uuid4()
    run("pipeline")
    make_event("address", store, async_account=ann, address_id=work, purpose="business")
    make_order(store, "W-1", async_account=ann, delivery_address_id=work)
    run("P-0001")

    run("sync-orders")

    assert SalesOrder.objects.get().delivery_address_id == work


def test_an_order_waits_for_a_customer_who_has_not_arrived(store):
    ann = uuid4()
    make_order(store, "W-1", async_account=ann)
    run("P-0001")

    assert run("sync-orders")["counts"]["waiting"] == 1
    assert status_and_reason("W-1") == ("none", "customer_missing")

    make_customer(store, guid=ann)
    run("P-0001")
    run("sync-orders")
    assert status_and_reason("W-1") == ("succeeded", None)


def test_an_order_waits_for_an_address_that_has_not_arrived(store):
    ann = make_customer(store)
    make_order(store, "W-1", async_account=ann, delivery_address_id=uuid4())
    run("P-0001")

    run("sync-orders")

    assert status_and_reason("W-1") == ("none", "address_missing")


def test_t9_an_order_of_an_invalid_customer_fails_alone_and_is_put_on_hold_when_corrected(store):
    ann, bo = make_customer(store), make_customer(store, "Bo", title="x" * 21)
    make_order(store, "W-ann", async_account=ann)
    make_order(store, "W-bo", async_account=bo)
    run("P-0001")

    run("sync-orders")

    assert status_and_reason("W-ann") == ("succeeded", None)
    assert status_and_reason("W-bo") == ("failed", "too_long")
    assert RetailTransaction.objects.get(confirmation_number="W-bo").order_attempts == 1

    correct_event(
        only_case(),
        {
            "operation": "create",
            "async_account": bo,
            "customer_type": "person",
            "first_name": "Bo",
            "last_name": "Lee",
            "title": "Dr",
        },
    )
    run("sync-orders")

    assert status_and_reason("W-bo") == ("succeeded", None)
    held = SalesOrder.objects.get(confirmation_number="W-bo")
    assert (held.state, held.hold_code) == ("on_hold", "SYNC-ERROR")
    assert held.customer == customer_of(bo)
    other = SalesOrder.objects.get(confirmation_number="W-ann")
    assert (other.state, other.hold_code) == ("open", None)


def test_one_order_is_synchronized_by_its_number_and_all_others_wait(store, command):
    ann = make_customer(store)
    make_order(store, "W-1", async_account=ann)
    make_order(store, "W-2", async_account=ann)
    run("P-0001")

    output = command("run_job", "sync-orders", "--order", "W-1")

    assert "sync-orders: succeeded. 1 posted, 1 converted." in output
    assert status_and_reason("W-1") == ("succeeded", None)
    assert status_and_reason("W-2") == ("none", "not_ordered")
    again = run("sync-orders", order_number="W-1")
    assert again["outcome"] == "nothing_to_do"
    assert again["message"] == "Nothing to do: the order is already SO-000001."


def test_an_order_under_correction_waits_and_the_run_says_why(store):
    make_order(store, "W-1", async_account=make_customer(store))
    run("P-0001")
    order = RetailTransaction.objects.get(confirmation_number="W-1")
    lease_transaction(order, User.objects.create_user("clerk"))

    synchronization = run("sync-orders", order_number="W-1")

    assert "someone is correcting" in synchronization["message"]
    assert status_and_reason("W-1") == ("editing", "not_ordered")


def test_synchronizing_orders_twice_creates_each_order_once(store):
    make_order(store, "W-1", async_account=make_customer(store))
    run("P-0001")
    run("sync-orders")

    assert run("sync-orders")["outcome"] == "nothing_to_do"
    assert SalesOrder.objects.count() == 1
