"""Wherever a process dies on the way of a sale, everything is posted once."""

import signal

import pytest

from stores.failpoints import SALES_FAILPOINTS
from stores.jobs.stalled import recover_stalled_runs
from stores.models import (
    Company,
    JobRun,
    PostedPayment,
    RetailTransaction,
    SalesOrder,
    Statement,
    TransactionError,
)
from stores.pipeline.integrity.verify import verify
from tests.support.make import make_customer, make_sale
from tests.support.processes import forking

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def forks(django_db_setup, tmp_path_factory):
    """The process that forks one job after the other."""
    with forking(tmp_path_factory.mktemp("crash") / "answer.json") as ask:
        yield ask


@pytest.mark.parametrize("point", SALES_FAILPOINTS)
def test_dying_on_the_way_of_a_sale_posts_everything_once(houston, forks, point):
    ann = make_customer(houston)
    for price in ("10.00", "20.00"):
        make_sale(houston, price, async_account=ann)
    make_sale(houston, "5.00")
    make_sale(
        houston, transaction_type="customer_order", confirmation_number="SO-1", async_account=ann
    )
    job = "sync-orders" if point.startswith("orders") else "eod"
    assert forks("P-0001") == 0

    assert forks(f"{job} {point} kill") == -signal.SIGKILL

    recover_stalled_runs()
    for again in ("eod", "sync-orders"):
        assert forks(again) == 0
    assert JobRun.objects.filter(status="lost").exists()
    assert [statement.state for statement in Statement.objects.all()] == ["posted"]
    assert SalesOrder.objects.count() == 3
    assert not RetailTransaction.objects.filter(sales_order=None).exists()
    assert [check.id for check in verify() if not check.ok] == []


@pytest.mark.parametrize("table", ["statement_tender", "posted_payment"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_dying_while_a_refused_sale_is_taken_out_posts_all_others_once(
    houston, forks, plant, when, table
):
    plant(table, "INSERT", "NEW.tender_type = 'points'")
    make_sale(houston, "10.00", transaction_id="T-1", async_account=make_customer(houston))
    make_sale(houston, "20.00", transaction_id="T-2")
    bad = {"tender_type": "points", "amount": "10.70", "currency": "USD"}
    make_sale(houston, transaction_id="T-3", payments=[bad])
    assert forks("P-0001") == 0

    assert forks(f"eod statements:{when}_taken_out kill") == -signal.SIGKILL

    recover_stalled_runs()
    assert forks("eod") == 0
    sales = {sale.transaction_id: sale.statement for sale in RetailTransaction.objects.all()}
    assert sales["T-1"] == sales["T-2"] == Statement.objects.get(state="posted")
    assert sales["T-3"] is None
    assert TransactionError.objects.get().rule == "sale_refused"
    assert [str(one.amount) for one in PostedPayment.objects.order_by("amount")] == [
        "10.7000",
        "21.4000",
    ]
    assert [check.id for check in verify() if not check.ok] == []
    written = Statement.objects.count(), SalesOrder.objects.count()
    assert forks("eod") == 0
    assert (Statement.objects.count(), SalesOrder.objects.count()) == written


def test_dying_while_a_statement_stops_leaves_it_to_the_next_run(houston, forks):
    make_sale(houston, transaction_id="T-1")
    for job in ("P-0001", "validate", "calculate-statements"):
        assert forks(job) == 0
    Company.objects.update(closed_until=RetailTransaction.objects.get().business_date)

    assert forks("post-statements statements:before_stopped kill") == -signal.SIGKILL

    recover_stalled_runs()
    assert forks("post-statements") == 0
    assert Statement.objects.get().reason == "period_closed"
    Company.objects.update(closed_until=None)
    assert forks("eod") == 0
    assert Statement.objects.get().state == "posted"
    assert [check.id for check in verify() if not check.ok] == []
