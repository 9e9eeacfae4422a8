"""Sales and orders that wait for a customer, an address, a person or a clock: none for ever.

From conftest.py: `houston` is a store on PostgreSQL; `store` is a store, once on PostgreSQL and
once on SQLite.
"""

from datetime import date, timedelta
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone

from stores.hqdb.sql import database_clock
from stores.jobs.scheduler import start_scheduled
from stores.messages.message import Message
from stores.models import (
    Channel,
    Customer,
    CustomerAddress,
    JobRun,
    RetailTransaction,
    Schedule,
    Statement,
)
from stores.models.job import JobCode
from stores.models.run import StartedBy
from stores.models.schedule import MINUTES_A_DAY
from stores.models.statement import StatementState
from stores.pipeline.corrections.sale import lease_transaction
from stores.pipeline.sales.statements import start_statements
from tests.support.concurrency import count_blocked_sessions, start_in_thread
from tests.support.make import make_customer, make_event, make_sale, make_schedule, pass_time, run
from tests.support.orders import get_order, make_order, status_and_reason
from tests.support.processes import until

DAY = date(2026, 11, 20)


@pytest.fixture
def home(store) -> UUID:
    """The only address of the channel's default customer."""
    account = store.channel.default_customer.account_number
    address_id = uuid4()
    make_event("address", store, account_number=account, address_id=address_id)
    return address_id


@pytest.fixture
def orders_of_guests(store, home) -> Customer:
    """Uploaded orders, of a channel without a default customer. Returns the one that it had."""
    deposit = {"tender_type": "cash", "amount": "5.00", "currency": "USD"}
    make_order(store, "collected")
    make_order(store, "delivered", delivery_address_id=home)
    make_order(store, "prepaid", payment_amount="5.00", payments=[deposit])
    make_order(store, "unknown-address", delivery_address_id=uuid4())
    run(JobCode.UPLOAD)
    Channel.objects.update(default_customer=None)
    return store.channel.default_customer


@pytest.mark.finding(id="P3")
def test_orders_of_guests_wait_for_a_default_customer(orders_of_guests):
    assert run(JobCode.ORDERS)["counts"]["waiting"] == 4

    for number in ("collected", "delivered", "prepaid"):
        assert status_and_reason(number) == ("none", "default_customer_missing")


@pytest.mark.finding(id="P3")
def test_orders_of_guests_go_to_a_new_default_customer(orders_of_guests, home):
    run(JobCode.ORDERS)
    Channel.objects.update(default_customer=orders_of_guests)

    run(JobCode.ORDERS)

    for number in ("collected", "delivered", "prepaid"):
        assert get_order(number).sales_order.customer == orders_of_guests
    assert get_order("delivered").sales_order.delivery_address_id == home
    assert status_and_reason("unknown-address") == ("none", "address_missing")


@pytest.mark.finding(id="P4")
def test_an_order_keeps_its_address_though_it_was_removed(store):
    ann, bo = make_customer(store, "Ann"), make_customer(store, "Bo")
    ann_home, bo_home = uuid4(), uuid4()
    # HQ knows the address of Ann already; that of Bo comes and goes in one upload.
    make_event("address", store, async_account=ann, address_id=ann_home, street="Elm Street")
    run(JobCode.PIPELINE)
    make_event("address", store, async_account=bo, address_id=bo_home, street="Elm Street")
    for guid, home, number in ((ann, ann_home, "W-1"), (bo, bo_home, "W-2")):
        make_order(store, number, async_account=guid, delivery_address_id=home)
        remove_address(store, guid, home)
    run(JobCode.UPLOAD)

    run(JobCode.ORDERS)

    for home, number in ((ann_home, "W-1"), (bo_home, "W-2")):
        address = get_order(number).sales_order.delivery_address
        assert (address.pk, address.is_active, address.street) == (home, False, "Elm Street")


def remove_address(store, guid, address_id):
    values = {"purpose": None, "street": None, "city": None, "country": None}
    make_event(
        "address",
        store,
        operation="deactivate",
        async_account=guid,
        address_id=address_id,
        **values,
    )


@pytest.mark.finding(id="P4")
def test_an_order_names_what_is_wrong_with_its_address(houston):
    ann, bo = make_customer(houston, "Ann"), make_customer(houston, "Bo")
    bo_home, invalid_address = uuid4(), uuid4()
    make_event("address", houston, async_account=bo, address_id=bo_home)
    run(JobCode.PIPELINE)
    make_event("address", houston, async_account=ann, address_id=invalid_address, county="x" * 11)
    make_order(houston, "to-bo", async_account=ann, delivery_address_id=bo_home)
    make_order(houston, "to-invalid", async_account=ann, delivery_address_id=invalid_address)
    make_order(houston, "of-bo", async_account=bo, delivery_address_id=bo_home)
    # Bo was removed after his order, which is no obstacle.
    make_event("customer", houston, async_account=bo, operation="deactivate")
    run(JobCode.PIPELINE)

    run(JobCode.ORDERS)

    assert status_and_reason("to-bo") == ("failed", "address_of_another")
    assert status_and_reason("to-invalid") == ("failed", "too_long")
    assert status_and_reason("of-bo") == ("succeeded", None)


@pytest.mark.finding(id="A1")
def test_end_of_day_applies_pending_addresses_before_it_posts(store):
    ann = make_customer(store, "Ann")
    make_customer(store, "Bo")
    run(JobCode.PIPELINE)
    bo_account = Customer.objects.get(first_name="Bo").account_number
    delivery, business, bo_home = uuid4(), uuid4(), uuid4()
    make_event("address", store, async_account=ann, address_id=delivery, purpose="delivery")
    make_event("address", store, async_account=ann, address_id=business, purpose="business")
    make_event("address", store, account_number=bo_account, address_id=bo_home)
    make_sale(store, async_account=ann, delivery_address_id=delivery, business_date=DAY)
    make_sale(store, account_number=bo_account, business_date=DAY)

    run(JobCode.END_OF_DAY)

    assert CustomerAddress.objects.filter(pk__in=[delivery, business, bo_home]).count() == 3
    assert Statement.objects.get().state == StatementState.POSTED


@pytest.mark.finding(id="A3")
@pytest.mark.finding(id="V6")
def test_an_order_is_synchronized_once_its_lease_has_expired(houston):
    make_order(houston, "W-1", async_account=make_customer(houston))
    run(JobCode.UPLOAD)
    lease_transaction(get_order("W-1"), User.objects.create_user("clerk"))
    assert run(JobCode.ORDERS)["outcome"] == "nothing_to_do"

    RetailTransaction.objects.update(editing_until=timezone.now() - timedelta(seconds=1))
    run(JobCode.ORDERS)

    assert get_order("W-1").order_status == "succeeded"


@pytest.mark.finding(id="A16")
@pytest.mark.finding(id="V14f")
def test_a_scheduled_run_counts_no_attempt_where_nothing_has_changed(houston):
    make_order(houston, "W-1", async_account=make_customer(houston, title="x" * 21))
    run(JobCode.UPLOAD)
    run(JobCode.ORDERS)
    failed = get_order("W-1")
    assert (failed.order_status, failed.order_attempts) == ("failed", 1)

    scheduled = run(JobCode.ORDERS, started_by=StartedBy.SCHEDULE)

    assert scheduled["counts"]["failed"] == 1
    order = get_order("W-1")
    assert (order.order_attempts, order.order_tried_at) == (1, failed.order_tried_at)


@pytest.mark.finding(id="A16")
@pytest.mark.finding(id="V14f")
def test_a_user_s_run_counts_an_attempt_though_nothing_has_changed(houston):
    make_order(houston, "W-1", async_account=make_customer(houston, title="x" * 21))
    run(JobCode.UPLOAD)
    run(JobCode.ORDERS)

    run(JobCode.ORDERS)

    assert get_order("W-1").order_attempts == 2


@pytest.mark.finding(id="V4")
def test_a_statement_posted_by_another_run_is_not_restarted(houston):
    make_sale(houston, "10.00", business_date=DAY, transaction_id="T-1")
    for job in (JobCode.UPLOAD, JobCode.VALIDATE, JobCode.CALCULATE):
        run(job)
    make_sale(houston, "20.00", business_date=DAY, transaction_id="T-2")
    run(JobCode.UPLOAD)
    run(JobCode.VALIDATE)
    step = JobRun.objects.get(job="calculate-statements").steps.get()

    with transaction.atomic():
        # Posting has written the next state and not committed it, so the other run must wait.
        Statement.objects.select_for_update().update(state=StatementState.AGGREGATED)
        calculation = start_in_thread(start_statements, step, houston.channel)
        until(count_blocked_sessions)
    calculation.result(timeout=60)

    statement = Statement.objects.get()
    assert statement.state == StatementState.AGGREGATED
    assert Message("statement_restarted") not in statement.events.values_list("text", flat=True)


@pytest.mark.finding(id="V16")
@pytest.mark.parametrize(("clock_error_days", "rules"), [(-500, []), (500, ["business_date_far"])])
def test_a_business_date_may_be_near_arrival_or_today(houston, clock_error_days, rules):
    make_sale(houston, business_date=DAY, transaction_id="recent")
    make_sale(houston, business_date=DAY - timedelta(days=700), transaction_id="old")
    run(JobCode.UPLOAD)
    # The clock of HQ was wrong when the sales arrived.
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE retail_transaction SET staged_at = staged_at + make_interval(days => %s)",
            [clock_error_days],
        )

    run(JobCode.VALIDATE)

    recent = RetailTransaction.objects.get(transaction_id="recent")
    assert recent.validation_status == "successful"
    old = RetailTransaction.objects.get(transaction_id="old")
    assert list(old.errors.values_list("rule", flat=True)) == rules


@pytest.mark.finding(id="A16")
@pytest.mark.parametrize(
    ("status", "minutes_ago", "is_retried"),
    [("partly", 5, False), ("partly", 16, True), ("succeeded", 16, False)],
)
def test_a_daily_end_of_day_that_ended_partly_is_retried(houston, status, minutes_ago, is_retried):
    make_schedule("eod", cron="0 0 * * *")
    pass_time(MINUTES_A_DAY)
    start_scheduled()
    first = Schedule.objects.get()
    ended_at = database_clock() - timedelta(minutes=minutes_ago)
    JobRun.objects.filter(pk=first.last_run_id).update(status=status, ended_at=ended_at)

    started = start_scheduled()

    schedule = Schedule.objects.get()
    assert len(started) == is_retried
    assert (schedule.last_run != first.last_run) is is_retried
    assert schedule.started_at == first.started_at


@pytest.mark.finding(id="A16")
@pytest.mark.parametrize(
    ("retries", "statuses", "runs"),
    [(5, ["partly", "succeeded"], 2), (2, ["partly", "failed", "busy"], 3), (0, ["partly"], 1)],
    ids=["until it succeeds", "so often as it says", "never"],
)
def test_a_daily_end_of_day_is_retried(houston, retries, statuses, runs):
    make_schedule("eod", cron="0 0 * * *", retries=retries)
    pass_time(MINUTES_A_DAY)

    for status in statuses:
        assert len(start_scheduled()) == 1
        last_run = JobRun.objects.filter(pk=Schedule.objects.get().last_run_id)
        last_run.update(status=status, ended_at=database_clock() - timedelta(minutes=16))

    assert start_scheduled() == []
    assert JobRun.objects.count() == runs
