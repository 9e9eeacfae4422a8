"""Sales and orders that wait: for whom, for what, and that nothing waits for ever in silence."""

import time
from datetime import date, timedelta
from datetime import time as time_of_day
from threading import Thread
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone

from stores.jobs.scheduler import database_clock, start_scheduled
from stores.models import (
    Channel,
    Customer,
    CustomerAddress,
    JobRun,
    RetailTransaction,
    Schedule,
    Statement,
)
from stores.models.run import StartedBy
from stores.models.statement import StatementState
from stores.pipeline.corrections.sale import lease_transaction
from stores.pipeline.sales.readiness import readiness
from stores.pipeline.sales.statements import start_statements
from tests.support.make import make_customer, make_event, make_sale, run

DAY = date(2026, 11, 20)


def make_order(store, **columns):
    """A customer order of a till, paid later. Returns its confirmation number."""
    number = columns.setdefault("confirmation_number", f"W-{uuid4().hex[:6]}")
    columns = {"payment_amount": "0", "payments": [], "business_date": DAY} | columns
    make_sale(store, transaction_type="customer_order", **columns)
    return number


def order(number):
    return RetailTransaction.objects.select_related("sales_order").get(confirmation_number=number)


def test_p3_orders_of_guests_are_the_default_customer_s_and_say_what_they_lack(store):
    home = uuid4()
    default = store.channel.default_customer
    make_event("address", store, account_number=default.account_number, address_id=home)
    numbers = [
        make_order(store),
        make_order(store, delivery_address_id=home),
        make_order(store, payment_amount="5.00", payments=[paid("5.00")]),
    ]
    to_nowhere = make_order(store, delivery_address_id=uuid4())
    run("P-0001")
    Channel.objects.update(default_customer=None)

    assert run("sync-orders")["counts"]["waiting"] == 4
    assert {order(number).order_reason for number in numbers} == {"default_customer_missing"}
    Channel.objects.update(default_customer=default)
    run("sync-orders")

    assert [order(number).sales_order.customer for number in numbers] == [default] * 3
    assert order(numbers[1]).sales_order.delivery_address_id == home
    assert order(to_nowhere).order_reason == "address_missing"


def paid(amount):
    return {"tender_type": "cash", "amount": amount, "currency": "USD"}


def test_p4_an_order_keeps_the_address_it_named_though_it_was_removed(store):
    early, late = make_customer(store), make_customer(store)
    homes = {early: uuid4(), late: uuid4()}
    make_event("address", store, async_account=early, address_id=homes[early])
    run("pipeline")
    numbers = []
    # The address of one is removed in a later visit than it came, all about the other in one.
    make_event("address", store, async_account=late, address_id=homes[late])
    for guid, home in homes.items():
        numbers.append(make_order(store, async_account=guid, delivery_address_id=home))
        gone = {"operation": "deactivate", "purpose": None, "street": None, "city": None}
        make_event("address", store, async_account=guid, address_id=home, **gone, country=None)
    run("P-0001")

    run("sync-orders")

    kept = [order(number).sales_order.delivery_address for number in numbers]
    assert [address.pk for address in kept] == list(homes.values())
    assert {(address.is_active, address.street) for address in kept} == {(False, "Main Street")}


def test_p4_an_order_says_what_is_wrong_with_the_address_it_names(houston):
    ann, bo = make_customer(houston), make_customer(houston, "Bo")
    of_bo, refused = uuid4(), uuid4()
    make_event("address", houston, async_account=bo, address_id=of_bo)
    run("pipeline")
    make_event("address", houston, async_account=ann, address_id=refused, county="x" * 11)
    a_gift, to_refused = (
        make_order(houston, async_account=ann, delivery_address_id=home)
        for home in (of_bo, refused)
    )
    # Who left afterwards is no obstacle, and neither is an address that went with her.
    of_who_left = make_order(houston, async_account=bo, delivery_address_id=of_bo)
    make_event("customer", houston, async_account=bo, operation="deactivate")
    run("pipeline")

    run("sync-orders")

    told = [
        (order(number).order_status, order(number).order_reason)
        for number in (a_gift, to_refused, of_who_left)
    ]
    assert told == [("failed", "address_of_another"), ("failed", "too_long"), ("succeeded", None)]


def test_a1_end_of_day_applies_the_addresses_of_its_customers_before_it_posts(store):
    ann = make_customer(store)
    make_customer(store, "Bo")
    run("pipeline")
    of_sale, beside, by_account = uuid4(), uuid4(), uuid4()
    account = Customer.objects.get(first_name="Bo").account_number
    make_event("address", store, async_account=ann, address_id=of_sale, purpose="delivery")
    make_event("address", store, async_account=ann, address_id=beside, purpose="business")
    make_event("address", store, account_number=account, address_id=by_account)
    make_sale(store, async_account=ann, delivery_address_id=of_sale, business_date=DAY)
    make_sale(store, account_number=account, business_date=DAY)

    run("eod")

    held = CustomerAddress.objects.filter(pk__in=[of_sale, beside, by_account])
    assert held.count() == 3
    assert Statement.objects.get().state == StatementState.POSTED


def test_a3_v6_an_order_that_somebody_left_open_goes_on_when_the_time_is_over(houston):
    number = make_order(houston, async_account=make_customer(houston))
    run("P-0001")
    clerk = User.objects.create_user("clerk")
    lease_transaction(order(number), clerk)
    assert run("sync-orders")["outcome"] == "nothing_to_do"
    RetailTransaction.objects.update(editing_until=timezone.now() - timedelta(seconds=1))

    run("sync-orders")

    assert order(number).order_status == "succeeded"


def test_v4_a_statement_that_posting_takes_meanwhile_is_not_started_again(houston):
    make_sale(houston, "10.00", business_date=DAY, transaction_id="T-1")
    for job in ("P-0001", "validate", "calculate-statements"):
        run(job)
    make_sale(houston, "20.00", business_date=DAY, transaction_id="T-2")
    run("P-0001")
    run("validate")
    step = JobRun.objects.get(job="calculate-statements").steps.get()
    calculating = Thread(target=in_own_connection, args=[start_statements, step, houston.channel])

    with transaction.atomic():
        # Posting has reached the next state and not committed yet; the other run reads the last.
        Statement.objects.select_for_update().update(state=StatementState.AGGREGATED)
        calculating.start()
        wait_until(is_somebody_waiting)
    calculating.join()

    statement = Statement.objects.get()
    assert statement.state == StatementState.AGGREGATED
    assert not statement.events.filter(text__startswith="Restarted").exists()


def in_own_connection(work, *args):
    try:
        work(*args)
    finally:
        connection.close()


def is_somebody_waiting():
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return cursor.fetchone()[0] > 0


def wait_until(is_so):
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a16_v14f_a_scheduled_run_that_changes_nothing_draws_no_attempt(houston):
    number = make_order(houston, async_account=make_customer(houston, title="x" * 21))
    run("P-0001")
    run("sync-orders")
    assert (order(number).order_status, order(number).order_attempts) == ("failed", 1)
    tried = order(number).order_tried_at

    found = run("sync-orders", started_by=StartedBy.SCHEDULE)

    assert found["counts"]["failed"] == 1
    assert (order(number).order_attempts, order(number).order_tried_at) == (1, tried)
    run("sync-orders")
    assert order(number).order_attempts == 2


@pytest.mark.parametrize("days_wrong", [-500, 500])
def test_v16_a_clock_that_was_wrong_keeps_no_sale_in_error_for_ever(houston, days_wrong):
    make_sale(houston, business_date=DAY, transaction_id="T-1")
    make_sale(houston, business_date=DAY - timedelta(days=700), transaction_id="T-2")
    run("P-0001")
    # When they arrived, the clock of headquarters was wrong.
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE retail_transaction SET staged_at = staged_at + make_interval(days => %s)",
            [days_wrong],
        )

    run("validate")

    right, far = RetailTransaction.objects.order_by("transaction_id")
    assert right.validation_status == "successful"
    assert list(far.errors.values_list("rule", flat=True)) == (
        ["business_date_far"] if days_wrong > 0 else []
    )


def blockers():
    return {
        (blocker.reason, blocker.field): blocker.sales
        for day in readiness()
        for blocker in day.blockers
    }


def test_a2_the_board_says_before_validation_what_validation_finds(houston):
    ann, bo = make_customer(houston), make_customer(houston, "Bo")
    run("pipeline")
    (of_ann, of_bo) = (
        Customer.objects.get(first_name=name).account_number for name in ("Ann", "Bo")
    )
    broken = make_customer(houston, "Cy", title="x" * 21)
    day = {"business_date": DAY}
    # Two customers in one; a known account beside an unknown or broken GUID, and the other way.
    make_sale(houston, async_account=ann, account_number=of_bo, transaction_id="T-1", **day)
    make_sale(houston, async_account=uuid4(), account_number=of_ann, transaction_id="T-2", **day)
    make_sale(houston, async_account=broken, account_number=of_ann, transaction_id="T-3", **day)
    make_sale(houston, async_account=bo, account_number="NOBODY", transaction_id="T-4", **day)
    make_sale(houston, async_account=uuid4(), transaction_id="T-5", **day)
    make_sale(houston, transaction_id="T-6", **day)
    number = make_order(houston, async_account=ann, account_number=of_bo)
    Channel.objects.update(default_customer=None)
    run("P-0001")
    before = blockers()

    run("validate")
    run("sync-orders")

    assert before == {
        ("identity_mismatch", "account_number"): 1,
        ("customer_missing", "async_account"): 1,
        ("default_customer_missing", "customer"): 1,
    }
    unknown = {
        ("customer_unknown", "async_account"): before.pop(("customer_missing", "async_account"))
    }
    assert blockers() == before | unknown
    wrong = RetailTransaction.objects.filter(validation_status="error")
    assert set(wrong.values_list("transaction_id", "errors__rule", "errors__field")) == {
        ("T-1", "identity_mismatch", "account_number"),
        ("T-5", "customer_unknown", "async_account"),
        (order(number).transaction_id, "identity_mismatch", "account_number"),
    }
    assert order(number).order_reason == "identity_mismatch"


def test_a16_a_daily_end_of_day_that_did_not_do_all_is_tried_again_the_same_day(houston):
    now = database_clock()
    schedule = Schedule.objects.create(job="eod", at=time_of_day(0, 0))
    assert len(start_scheduled()) == 1
    schedule.refresh_from_db()
    first, day = schedule.last_run, schedule.started_on

    def end(status, minutes_ago):
        schedule.refresh_from_db()
        JobRun.objects.filter(pk=schedule.last_run_id).update(
            status=status, ended_at=now - timedelta(minutes=minutes_ago)
        )

    end("partly", 5)
    assert start_scheduled() == []
    end("partly", 16)
    assert len(start_scheduled()) == 1
    schedule.refresh_from_db()
    assert (schedule.last_run == first, schedule.started_on) == (False, day)
    end("succeeded", 16)
    assert start_scheduled() == []
