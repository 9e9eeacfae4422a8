"""Synchronizing orders: each customer order of a till becomes one sales order of an account.

From conftest.py: `popup` is a store on SQLite; `store` is a store, once on PostgreSQL and once on
SQLite; `command` calls a management command and returns its output.
"""

from uuid import uuid4

import pytest
from django.contrib.auth.models import User

from stores.models import Customer, GuidMap, SalesOrder
from stores.models.job import JobCode
from stores.pipeline.corrections.quarantine import correct_event
from stores.pipeline.corrections.sale import lease_transaction
from tests.support.make import make_customer, make_event, only_case, run
from tests.support.orders import get_order, make_order, status_and_reason

pytestmark = pytest.mark.slow

# HQ takes titles of up to 20 letters.
LONG_TITLE = "x" * 21


def get_sales_order(number):
    return SalesOrder.objects.get(confirmation_number=number)


def customer_of(guid):
    return GuidMap.objects.get(async_account=guid).customer


def correct_title(guid):
    """Correct the only quarantined row, a customer with a title that is too long."""
    values = {"customer_type": "person", "first_name": "Bo", "last_name": "Lee", "title": "Dr"}
    correct_event(only_case(), {"operation": "create", "async_account": guid, **values})


@pytest.mark.scenario(id="T7")
def test_an_order_converts_its_customer_and_delivery_address(store):
    ann = make_customer(store)
    home = uuid4()
    make_event("address", store, async_account=ann, address_id=home)
    make_order(store, "W-1", async_account=ann, delivery_address_id=home, delivery_mode="HOME")
    run(JobCode.UPLOAD)

    synchronization = run(JobCode.ORDERS)

    order = SalesOrder.objects.get()
    assert synchronization["outcome"] == "succeeded"
    assert order.customer == customer_of(ann)
    assert order.delivery_address_id == home
    assert order.number == "SO-000001"
    assert status_and_reason("W-1") == ("succeeded", None)


@pytest.mark.scenario(id="T7")
def test_a_customer_converted_by_an_order_is_not_converted_again(popup):
    make_order(popup, "W-1", async_account=make_customer(popup))
    run(JobCode.UPLOAD)
    run(JobCode.ORDERS)

    conversion = run(JobCode.CONVERT)

    assert conversion["outcome"] == "nothing_to_do"
    # The default customer of the channel has no number.
    assert Customer.objects.filter(number__isnull=False).count() == 1


@pytest.mark.scenario(id="T7")
def test_an_order_converts_a_new_address_of_a_known_customer(popup):
    ann = make_customer(popup)
    work = uuid4()
    run(JobCode.PIPELINE)
    make_event("address", popup, async_account=ann, address_id=work, purpose="business")
    make_order(popup, "W-1", async_account=ann, delivery_address_id=work)
    run(JobCode.UPLOAD)

    run(JobCode.ORDERS)

    assert SalesOrder.objects.get().delivery_address_id == work


def test_an_order_waits_for_a_customer_who_has_not_arrived(popup):
    make_order(popup, "W-1", async_account=uuid4())
    run(JobCode.UPLOAD)

    synchronization = run(JobCode.ORDERS)

    assert synchronization["counts"]["waiting"] == 1
    assert status_and_reason("W-1") == ("none", "customer_missing")


def test_an_order_succeeds_once_its_missing_customer_has_arrived(popup):
    ann = uuid4()
    make_order(popup, "W-1", async_account=ann)
    run(JobCode.UPLOAD)
    run(JobCode.ORDERS)
    make_customer(popup, guid=ann)
    run(JobCode.UPLOAD)

    run(JobCode.ORDERS)

    assert status_and_reason("W-1") == ("succeeded", None)


def test_an_order_waits_for_an_address_that_has_not_arrived(popup):
    ann = make_customer(popup)
    make_order(popup, "W-1", async_account=ann, delivery_address_id=uuid4())
    run(JobCode.UPLOAD)

    run(JobCode.ORDERS)

    assert status_and_reason("W-1") == ("none", "address_missing")


@pytest.mark.scenario(id="T9")
def test_an_order_of_an_invalid_customer_fails_alone(popup):
    make_order(popup, "W-ann", async_account=make_customer(popup))
    make_order(popup, "W-bo", async_account=make_customer(popup, "Bo", title=LONG_TITLE))
    run(JobCode.UPLOAD)

    run(JobCode.ORDERS)

    assert status_and_reason("W-ann") == ("succeeded", None)
    assert status_and_reason("W-bo") == ("failed", "too_long")
    assert get_order("W-bo").order_attempts == 1


@pytest.mark.scenario(id="T9")
def test_a_failed_order_is_on_hold_once_its_customer_is_corrected(popup):
    bo = make_customer(popup, "Bo", title=LONG_TITLE)
    make_order(popup, "W-ann", async_account=make_customer(popup))
    make_order(popup, "W-bo", async_account=bo)
    run(JobCode.UPLOAD)
    run(JobCode.ORDERS)
    correct_title(bo)

    run(JobCode.ORDERS)

    assert status_and_reason("W-bo") == ("succeeded", None)
    held = get_sales_order("W-bo")
    assert (held.state, held.hold_code) == ("on_hold", "SYNC-ERROR")
    assert held.customer == customer_of(bo)
    other = get_sales_order("W-ann")
    assert (other.state, other.hold_code) == ("open", None)


def test_an_order_can_be_synchronized_alone_by_its_number(popup, command):
    ann = make_customer(popup)
    make_order(popup, "W-1", async_account=ann)
    make_order(popup, "W-2", async_account=ann)
    run(JobCode.UPLOAD)

    output = command("run_job", "sync-orders", "--order", "W-1")

    assert "sync-orders: succeeded. 1 posted, 1 converted." in output
    assert status_and_reason("W-1") == ("succeeded", None)
    assert status_and_reason("W-2") == ("none", "not_ordered")


def test_a_synchronized_order_is_not_synchronized_again(popup):
    make_order(popup, "W-1", async_account=make_customer(popup))
    run(JobCode.UPLOAD)
    run(JobCode.ORDERS)

    synchronization = run(JobCode.ORDERS, order_number="W-1")

    assert synchronization["outcome"] == "nothing_to_do"
    assert synchronization["message"] == "Nothing to do: the order is already SO-000001."


def test_an_order_under_correction_waits_and_the_run_says_why(popup):
    make_order(popup, "W-1", async_account=make_customer(popup))
    run(JobCode.UPLOAD)
    lease_transaction(get_order("W-1"), User.objects.create_user("clerk"))

    synchronization = run(JobCode.ORDERS, order_number="W-1")

    assert "someone is correcting" in synchronization["message"]
    assert status_and_reason("W-1") == ("editing", "not_ordered")


def test_synchronizing_orders_twice_creates_each_order_once(store):
    make_order(store, "W-1", async_account=make_customer(store))
    run(JobCode.UPLOAD)
    run(JobCode.ORDERS)

    synchronization = run(JobCode.ORDERS)

    assert synchronization["outcome"] == "nothing_to_do"
    assert SalesOrder.objects.count() == 1
