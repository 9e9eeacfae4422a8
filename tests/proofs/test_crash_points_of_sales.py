"""A process that dies while it validates or posts sales does not post anything twice.

It is killed at each failpoint between two commits; the next runs must finish the work.

From conftest.py: `houston` is a store on PostgreSQL; `raise_on` lets HQ refuse certain rows of a
table.
"""

import signal
from decimal import Decimal

import pytest

from stores.failpoints import SALES_FAILPOINTS
from stores.jobs.stalled import recover_lost_steps
from stores.models import (
    Company,
    PostedPayment,
    RetailTransaction,
    RunStep,
    SalesOrder,
    Statement,
    TransactionError,
)
from stores.models.job import JobCode
from tests.support.make import make_customer, make_sale, run
from tests.support.processes import forking
from tests.support.promises import broken_promises

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run_forked(django_db_setup, tmp_path_factory):
    """Runs a job in a forked process and returns its exit status."""
    with forking(tmp_path_factory.mktemp("crash") / "answer.json") as run_task:
        yield run_task


@pytest.mark.parametrize("failpoint", SALES_FAILPOINTS)
def test_a_killed_job_is_finished_by_the_next_run(houston, run_forked, failpoint):
    ann = make_customer(houston)
    make_sale(houston, "10.00", async_account=ann)
    make_sale(houston, "20.00", async_account=ann)
    make_sale(houston, "5.00")
    order = {"transaction_type": "customer_order", "confirmation_number": "SO-1"}
    make_sale(houston, async_account=ann, **order)
    run(JobCode.UPLOAD)
    job = "sync-orders" if failpoint.startswith("orders") else "eod"

    assert run_forked(job, dies_at=failpoint) == -signal.SIGKILL

    recover_lost_steps()
    run("eod")
    run("sync-orders")
    assert RunStep.objects.filter(losses=1).exists()
    assert Statement.objects.get().state == "posted"
    assert SalesOrder.objects.count() == 3
    assert not RetailTransaction.objects.filter(sales_order=None).exists()
    assert broken_promises() == []


@pytest.mark.parametrize("table", ["statement_tender", "posted_payment"])
@pytest.mark.parametrize("failpoint", ["statements:before_taken_out", "statements:after_taken_out"])
def test_a_job_killed_while_it_removes_a_refused_sale_posts_the_others_once(
    houston, run_forked, raise_on, failpoint, table
):
    raise_on(table, "INSERT", "NEW.tender_type = 'points'")
    make_sale(houston, "10.00", transaction_id="T-1", async_account=make_customer(houston))
    make_sale(houston, "20.00", transaction_id="T-2")
    points = {"tender_type": "points", "amount": "10.70", "currency": "USD"}
    make_sale(houston, transaction_id="T-3", payments=[points])
    run(JobCode.UPLOAD)

    assert run_forked("eod", dies_at=failpoint) == -signal.SIGKILL

    recover_lost_steps()
    # The first call ends the killed run; what waits for calculation by then is left to the second.
    run("eod")
    run("eod")
    statements = {sale.transaction_id: sale.statement for sale in RetailTransaction.objects.all()}
    posted = Statement.objects.get(state="posted")
    assert statements == {"T-1": posted, "T-2": posted, "T-3": None}
    assert TransactionError.objects.get().rule == "sale_refused"
    payments = PostedPayment.objects.order_by("amount").values_list("amount", flat=True)
    assert list(payments) == [Decimal("10.70"), Decimal("21.40")]
    assert broken_promises() == []
    counts = Statement.objects.count(), SalesOrder.objects.count()
    run("eod")
    assert (Statement.objects.count(), SalesOrder.objects.count()) == counts


def test_a_job_killed_while_it_stops_a_statement_leaves_it_to_the_next_run(houston, run_forked):
    make_sale(houston, transaction_id="T-1")
    for job in (JobCode.UPLOAD, JobCode.VALIDATE, JobCode.CALCULATE):
        run(job)
    Company.objects.update(closed_until=RetailTransaction.objects.get().business_date)

    killed = run_forked("post-statements", dies_at="statements:before_stopped")

    assert killed == -signal.SIGKILL
    recover_lost_steps()
    run("post-statements")
    assert Statement.objects.get().reason == "period_closed"
    Company.objects.update(closed_until=None)
    run("eod")
    assert Statement.objects.get().state == "posted"
    assert broken_promises() == []
