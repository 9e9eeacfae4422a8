"""T7 to T11 and T29: no sale is ever posted under a temporary identity."""

from datetime import date, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import DataError, IntegrityError, connection
from django.utils import timezone

from stores import failpoints
from stores.jobs.catalog import JOBS
from stores.jobs.run import execute
from stores.jobs.stalled import heal
from stores.jobs.start import start
from stores.models import (
    Channel,
    Company,
    Customer,
    GuidMap,
    JobRun,
    RetailTransaction,
    SalesOrder,
    Statement,
)
from stores.models.statement import StatementState
from stores.pipeline.corrections.quarantine import correct
from stores.pipeline.corrections.sale import lease
from stores.pipeline.integrity.verify import verify
from stores.trace.timeline import trace
from tests.support.make import article, make_customer, make_event, make_sale, only_case, run
from tests.support.processes import Died, die

pytestmark = pytest.mark.slow

DAY = date(2026, 11, 20)


def make_order(store, **columns):
    """A customer order of a till, by default for nobody yet. Returns its confirmation number."""
    number = columns.setdefault("confirmation_number", f"SO-W{uuid4().hex[:6]}")
    make_sale(store, transaction_type="customer_order", business_date=DAY, **columns)
    return number


def sell(store, *prices, **columns):
    return make_sale(store, *prices, business_date=DAY, **columns)


def status(number):
    return RetailTransaction.objects.values_list("order_status", "order_reason").get(
        confirmation_number=number
    )


def account_of(guid):
    return GuidMap.objects.get(async_account=guid).customer


def test_t7_an_order_converts_the_customer_and_the_address_it_names(store):
    ann, home = make_customer(store), uuid4()
    make_event("address", store, async_account=ann, address_id=home)
    make_order(store, async_account=ann, delivery_address_id=home, delivery_mode="HOME")
    run("P-0001")

    found = run("sync-orders")

    order = SalesOrder.objects.get()
    assert found["outcome"] == "succeeded"
    assert order.customer == account_of(ann)
    assert order.delivery_address_id == home
    assert order.number == "SO-000001"
    assert RetailTransaction.objects.get().order_status == "succeeded"
    assert run("sync-customers")["outcome"] == "nothing_to_do"
    assert Customer.objects.filter(number__isnull=False).count() == 1


def test_t7_an_address_added_later_to_a_known_customer_is_applied_with_its_order(store):
    ann, work = make_customer(store), uuid4()
    run("pipeline")
    make_event("address", store, async_account=ann, address_id=work, purpose="business")
    make_order(store, async_account=ann, delivery_address_id=work)
    run("P-0001")

    run("sync-orders")

    assert SalesOrder.objects.get().delivery_address_id == work


def test_an_order_waits_for_a_customer_who_has_not_arrived(store):
    ann = uuid4()
    number = make_order(store, async_account=ann)
    run("P-0001")

    found = run("sync-orders")

    assert found["counts"]["waiting"] == 1
    assert status(number) == ("none", "customer_missing")
    make_customer(store, guid=ann)
    run("P-0001")
    run("sync-orders")
    assert status(number) == ("succeeded", None)


def test_an_order_waits_for_an_address_that_has_not_arrived(store):
    ann = make_customer(store)
    number = make_order(store, async_account=ann, delivery_address_id=uuid4())
    run("P-0001")

    run("sync-orders")

    assert status(number) == ("none", "address_missing")


def test_t9_an_order_whose_customer_is_wrong_fails_alone_and_is_held_once_it_is_mended(store):
    bo, ann = make_customer(store, "Bo", title="x" * 21), make_customer(store)
    bad = make_order(store, async_account=bo)
    good = make_order(store, async_account=ann)
    run("P-0001")

    run("sync-orders")

    assert status(bad) == ("failed", "too_long")
    assert RetailTransaction.objects.get(confirmation_number=bad).order_attempts == 1
    assert status(good) == ("succeeded", None)
    right = {"operation": "create", "async_account": bo, "customer_type": "person"}
    correct(only_case(), right | {"first_name": "Bo", "last_name": "Lee", "title": "Dr"})
    run("sync-orders")
    assert status(bad) == ("succeeded", None)
    held, other = (SalesOrder.objects.get(confirmation_number=number) for number in (bad, good))
    assert (held.state, held.hold_code, held.customer) == ("on_hold", "SYNC-ERROR", account_of(bo))
    assert (other.state, other.hold_code) == ("open", None)


def test_one_order_is_synchronized_by_its_number_and_all_others_wait(store, command):
    ann = make_customer(store)
    wanted, other = (make_order(store, async_account=ann) for _ in range(2))
    run("P-0001")

    told = command("run_job", "sync-orders", "--order", wanted)

    assert "sync-orders: succeeded. 1 posted, 1 converted." in told
    assert status(wanted) == ("succeeded", None)
    assert status(other) == ("none", "not_ordered")
    again = run("sync-orders", order_number=wanted)
    assert again["outcome"] == "nothing_to_do"
    assert again["message"] == "Nothing to do: the order is already SO-000001."


def test_an_order_that_somebody_is_correcting_waits_and_the_run_says_why(store):
    number = make_order(store, async_account=make_customer(store))
    run("P-0001")
    clerk = User.objects.create_user("clerk")
    lease(RetailTransaction.objects.get(confirmation_number=number), clerk)

    assert "someone is correcting" in run("sync-orders", order_number=number)["message"]
    assert status(number) == ("editing", "not_ordered")


def test_synchronizing_orders_twice_makes_each_order_once(store):
    make_order(store, async_account=make_customer(store))
    run("P-0001")
    run("sync-orders")

    assert run("sync-orders")["outcome"] == "nothing_to_do"
    assert SalesOrder.objects.count() == 1


def test_t10_a_cash_and_carry_sale_is_posted_for_the_account_its_guid_became(store):
    ann = make_customer(store)
    sell(store, "40.00", "10.00", async_account=ann, transaction_id="T-1")

    found = run("eod")

    order = SalesOrder.objects.get()
    assert found["outcome"] == "succeeded"
    assert order.customer == account_of(ann)
    assert order.gross_amount == Decimal("53.50")
    assert order.state == "invoiced"
    assert order.payments.get().amount == Decimal("53.50")
    assert Statement.objects.get().state == StatementState.POSTED


def test_t11_named_customers_get_one_order_each_and_guests_the_default_customer_s(store):
    ann = make_customer(store)
    run("pipeline")
    sell(store, "10.00", async_account=ann)
    sell(store, "20.00", account_number=account_of(ann).account_number)
    sell(store, "5.00")

    run("eod")

    assert sorted(
        SalesOrder.objects.values_list("customer__account_number", "gross_amount")
    ) == sorted(
        [
            (account_of(ann).account_number, Decimal("32.10")),
            (store.channel.default_customer.account_number, Decimal("5.35")),
        ]
    )


def test_t29_a_statement_goes_on_where_it_failed_and_makes_nothing_twice(store, monkeypatch):
    sell(store, "10.00")
    make_sale(store, "20.00", business_date=DAY + timedelta(days=1))
    # The orders of the first day are made when the process dies.
    with monkeypatch.context() as patch:
        patch.setitem(failpoints.armed, "statements:before_invoiced", die)
        with pytest.raises(Died):
            run("eod")
    # Before anybody looks after it, the books of that day are closed.
    Company.objects.update(closed_until=DAY)

    found = run("eod")

    stuck, other = Statement.objects.order_by("business_date")
    assert found["outcome"] == "partly"
    assert f"{stuck.number}: Its business date is in a closed period." in found["message"]
    assert (stuck.state, stuck.reason) == (StatementState.ORDERS_CREATED, "period_closed")
    assert other.state == StatementState.POSTED
    assert run("post-statements")["outcome"] == "failed"

    Company.objects.update(closed_until=None)
    found = run("post-statements")

    assert (found["outcome"], found["counts"]) == ("succeeded", {"posted": 1})
    stuck.refresh_from_db()
    assert (stuck.state, stuck.attempts) == (StatementState.POSTED, 2)
    reached = stuck.events.exclude(text__contains="was not reached").values_list("text", flat=True)
    assert len(set(reached)) == len(reached) == 9
    assert SalesOrder.objects.count() == 2
    assert [check.id for check in verify() if not check.ok] == []


def test_t29_a_statement_without_a_default_customer_fails_alone_until_there_is_one(store):
    sell(store, "10.00")
    tuesday = DAY + timedelta(days=1)
    make_sale(store, "20.00", business_date=tuesday, async_account=make_customer(store))
    for job in ("P-0001", "validate", "calculate-statements"):
        run(job)
    default = store.channel.default_customer
    Channel.objects.update(default_customer=None)

    found = run("post-statements")

    of_guests, of_somebody = Statement.objects.order_by("business_date")
    assert found["outcome"] == "failed"
    assert f"{of_guests.number}: The channel has no default customer" in found["message"]
    assert (of_guests.state, of_guests.reason) == (
        StatementState.CHECKED,
        "default_customer_missing",
    )
    assert of_somebody.state == StatementState.POSTED
    Channel.objects.update(default_customer=default)
    assert run("eod")["outcome"] == "succeeded"
    assert SalesOrder.objects.get(statement=of_guests).customer == default
    assert SalesOrder.objects.count() == 2


def test_c6_what_comes_after_posting_gets_a_supplementary_statement(store):
    sell(store, "10.00")
    run("eod")
    before = Statement.objects.get().content_hash
    sell(store, "20.00")

    run("eod")

    first, second = Statement.objects.order_by("sequence")
    assert bytes(first.content_hash) == bytes(before)
    assert (second.sequence, second.state) == (2, StatementState.POSTED)


def test_c1_a_sale_that_does_not_add_up_is_left_out_and_the_rest_is_posted(store):
    sell(store, "10.00", transaction_id="T-1", net_amount="11.00")
    sell(store, "20.00", transaction_id="T-2")

    run("eod")

    sales = RetailTransaction.objects.order_by("transaction_id")
    assert list(sales.values_list("validation_status", flat=True)) == ["error", "successful"]
    assert [sale.statement_id is None for sale in sales] == [True, False]
    assert set(sales[0].errors.values_list("rule", flat=True)) == {"net_differs", "gross_differs"}


def test_c4_a_sale_for_a_customer_nobody_uploaded_is_not_posted(store):
    sell(store, "10.00", async_account=uuid4())

    run("eod")

    sale = RetailTransaction.objects.get()
    assert sale.errors.get().rule == "customer_unknown"
    assert sale.sales_order is None


def test_c3_a_channel_on_postgresql_holds_no_amount_beyond_its_column(houston):
    with pytest.raises(DataError, match="overflow"):
        sell(houston, net_amount="1e20")
    sell(houston, "10.00", transaction_id="T-2")

    assert run("eod")["counts"]["posted"] == 1


@pytest.mark.fault("F-55", "F-56")
def test_c7_each_sale_is_in_one_statement_also_on_days_when_clocks_change(store):
    Channel.objects.update(time_zone="Europe/Amsterdam", day_ends_at="04:00")
    autumn, spring = last_sunday(10), last_sunday(3)
    # In UTC: half past two comes twice, and is over at half past three; in spring it never is.
    for day, clocks in (
        (autumn, ("00:30", "01:30", "02:30", "03:30")),
        (spring, ("00:30", "02:30")),
    ):
        for clock in clocks:
            make_sale(store, business_date=None, occurred_at=f"{day}T{clock}:00+00:00")

    run("eod")

    posted = Statement.objects.filter(state=StatementState.POSTED).with_sales()
    assert dict(posted.values_list("business_date", "sales")) == {
        autumn - timedelta(days=1): 3,
        autumn: 1,
        spring - timedelta(days=1): 1,
        spring: 1,
    }
    assert posted.count() == Statement.objects.count() == 4


def last_sunday(month):
    """The last Sunday of a month, the last that is over."""
    today = timezone.now().date()
    ends = (date(today.year - ago, month, 31) for ago in (0, 1))
    sundays = (end - timedelta(days=(end.weekday() + 1) % 7) for end in ends)
    return next(sunday for sunday in sundays if sunday < today)


@pytest.mark.fault("F-57")
@pytest.mark.parametrize(
    ("currency", "unit", "too_fine"),
    [("JPY", "1", "0.5"), ("USD", "0.01", "0.005"), ("KWD", "0.001", "0.0005")],
)
def test_amounts_are_added_exactly_and_never_rounded(store, currency, unit, too_fine):
    price = Decimal(unit) * 10
    lines = [article(str(price), tax_amount=unit) for _ in range(300)]
    money = {
        "currency": currency,
        "payments": paid_in_thirds(price * 300 + Decimal(unit) * 300, currency),
    }
    sell(store, lines=lines, **money)
    sell(store, lines=[article(too_fine, tax_amount="0")], transaction_id="T-2", currency=currency)

    run("eod")

    total = Statement.objects.get().totals.get()
    assert (total.net_amount, total.tax_amount) == (price * 300, Decimal(unit) * 300)
    assert sum(row.amount for row in Statement.objects.get().tenders.all()) == total.gross_amount
    wrong = RetailTransaction.objects.get(transaction_id="T-2")
    assert "not_rounded" in wrong.errors.values_list("rule", flat=True)


def paid_in_thirds(amount, currency):
    """Three payments of different tenders that come to the amount."""
    third = (amount / 3).quantize(amount)
    return [
        {"tender_type": tender, "amount": str(part), "currency": currency}
        for tender, part in (("cash", third), ("card", third), ("voucher", amount - 2 * third))
    ]


def test_a_business_date_limits_end_of_day_to_its_sales(store, command):
    day_before = DAY - timedelta(days=1)
    make_sale(store, "10.00", business_date=day_before, transaction_id="T-1")
    sell(store, "20.00", transaction_id="T-2")
    sell(store, "30.00", transaction_id="T-3", net_amount="31.00")

    rehearsed = command("run_job", "eod", "--date", str(DAY), "--dry-run")
    assert not Statement.objects.exists()
    told = command("run_job", "eod", "--date", str(DAY))

    assert rehearsed.splitlines()[-1] == told.splitlines()[-1]
    assert "3 staged, 1 failed, 3 updated, 1 posted" in told
    assert list(Statement.objects.values_list("business_date", flat=True)) == [DAY]
    assert status_of_validation() == {"T-1": "none", "T-2": "successful", "T-3": "error"}
    assert run("eod", business_date=day_before)["counts"]["posted"] == 1


@pytest.mark.parametrize("job", ["validate", "calculate-statements", "post-statements"])
def test_a_business_date_leaves_all_other_days_where_they_are(store, job):
    for number, day in enumerate((DAY, DAY - timedelta(days=1))):
        make_sale(store, business_date=day, transaction_id=f"T-{number}")
    before = {"validate": [], "calculate-statements": ["validate"]}
    for earlier in ("P-0001", *before.get(job, ["validate", "calculate-statements"])):
        run(earlier)

    run(job, business_date=DAY)

    untouched = run(job, business_date=DAY - timedelta(days=1))
    assert untouched["outcome"] == "succeeded"
    assert run(job)["outcome"] == "nothing_to_do"


def test_a_queued_run_and_the_one_that_follows_it_keep_their_business_date(houston):
    sell(houston, "10.00")
    make_sale(houston, business_date=DAY - timedelta(days=1))
    started = start(JOBS["eod"], business_date=DAY)
    again = start(JOBS["eod"], business_date=DAY)
    other = start(JOBS["eod"])
    assert (again.is_new, other.is_new) == (False, True)
    JobRun.objects.filter(pk=started.run.pk).update(
        status="running", fencing_no=1, lease_until=timezone.now()
    )

    heal()
    successor = JobRun.objects.get(successor_of=started.run)
    execute(str(successor.pk))

    assert (successor.business_date, successor.scope) == (DAY, f"date:{DAY}")
    assert list(Statement.objects.values_list("business_date", flat=True)) == [DAY]


def status_of_validation():
    return dict(RetailTransaction.objects.values_list("transaction_id", "validation_status"))


def test_running_end_of_day_twice_changes_nothing(store):
    sell(store, "10.00")
    run("eod")

    assert run("eod")["outcome"] == "nothing_to_do"
    assert SalesOrder.objects.count() == 1


def test_a_posted_statement_refuses_every_change(houston):
    sell(houston, "10.00")
    run("eod")

    for statement in (
        "UPDATE statement SET business_date = business_date + 1",
        "UPDATE statement_total SET gross_amount = 0",
        "UPDATE retail_transaction SET gross_amount = 0",
        "UPDATE retail_transaction_line SET net_amount = 0",
        "DELETE FROM statement_tender",
        "UPDATE sales_order SET gross_amount = 0",
    ):
        with pytest.raises(Exception, match=r"posted|refused"), connection.cursor() as cursor:
            cursor.execute(statement)


def test_a_trace_shows_the_customer_s_documents_and_is_found_by_their_numbers(store):
    ann = make_customer(store)
    sell(store, "10.00", async_account=ann, transaction_id="T-1", receipt_number="R-77")
    number = make_order(store, async_account=ann, transaction_id="T-2")
    run("eod")
    run("sync-orders")

    of_hq = SalesOrder.objects.filter(customer=account_of(ann))
    posted = of_hq.get(invoice_number__isnull=False)
    for ref in (
        "T-1",
        "R-77",
        number,
        *of_hq.values_list("number", flat=True),
        posted.invoice_number,
    ):
        found = trace(ref)
        assert found.account_number == account_of(ann).account_number
    assert [(one["id"], one["state"]) for one in found.documents] == [
        ("T-2", "posted"),
        ("T-1", "posted"),
    ]


def test_a_sale_to_nobody_leads_to_no_customer(store):
    sell(store, "10.00")
    run("eod")

    order = SalesOrder.objects.get()
    assert order.customer == store.channel.default_customer
    assert trace(order.number) is None


@pytest.mark.parametrize(
    ("before", "after"), [("end_of_day", "trickle_feed"), ("trickle_feed", "end_of_day")]
)
def test_t28_the_mode_of_statements_changes_only_between_statements(store, before, after):
    Channel.objects.update(statement_mode=before)
    sell(store, "10.00")
    for job in ("P-0001", "validate", "calculate-statements"):
        run(job)

    with pytest.raises(IntegrityError, match="a statement is open"):
        Channel.objects.update(statement_mode=after)

    run("post-statements")
    assert Channel.objects.update(statement_mode=after) == 1


def test_a_store_that_is_not_on_trickle_feed_waits_until_its_day_has_ended(houston):
    Channel.objects.update(statement_mode="end_of_day")
    today = timezone.now().date()
    make_sale(houston, business_date=today, transaction_id="T-1")
    make_sale(houston, business_date=today - timedelta(days=1), transaction_id="T-2")

    run("eod")

    posted = RetailTransaction.objects.exclude(sales_order=None)
    assert list(posted.values_list("transaction_id", flat=True)) == ["T-2"]


@pytest.mark.fault("F-55", "F-56")
@pytest.mark.parametrize(
    ("moment", "zone", "ends", "expected"),
    [
        # The hour that comes twice, and the one that never is.
        ("2026-10-25 00:30Z", "Europe/Amsterdam", "04:00", "2026-10-24"),
        ("2026-10-25 01:30Z", "Europe/Amsterdam", "04:00", "2026-10-24"),
        ("2026-10-25 03:30Z", "Europe/Amsterdam", "04:00", "2026-10-25"),
        ("2026-03-29 00:59Z", "Europe/Amsterdam", "02:00", "2026-03-28"),
        ("2026-03-29 01:00Z", "Europe/Amsterdam", "02:00", "2026-03-29"),
        # Year end, and both sides of the date line.
        ("2027-01-01 03:59Z", "UTC", "04:00", "2026-12-31"),
        ("2027-01-01 04:00Z", "UTC", "04:00", "2027-01-01"),
        ("2026-12-31 10:30Z", "Pacific/Kiritimati", "00:00", "2027-01-01"),
        ("2027-01-01 10:30Z", "Pacific/Pago_Pago", "00:00", "2026-12-31"),
        # A day that most years have not, and a zone whose clock changes by half an hour.
        ("2028-02-29 02:00Z", "America/Chicago", "00:00", "2028-02-28"),
        ("2028-03-01 05:59Z", "America/Chicago", "00:00", "2028-02-29"),
        ("2026-04-04 15:10Z", "Australia/Lord_Howe", "02:00", "2026-04-04"),
        ("2026-04-04 15:40Z", "Australia/Lord_Howe", "02:00", "2026-04-05"),
    ],
)
def test_a_store_s_own_clock_decides_the_business_date(hq, moment, zone, ends, expected):
    with connection.cursor() as cursor:
        cursor.execute("SELECT business_date_of(%s, %s, %s)::text", [moment, zone, ends])

        assert cursor.fetchone() == (expected,)
