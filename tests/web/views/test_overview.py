"""The overview names everything that waits, with its reason and a link to it.

From conftest.py: `houston` is a store on PostgreSQL; `reader` is a client of a user who may see
every page; `clerk` is a client of a user who may correct sales.
"""

from datetime import date, timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from stores.models import JobRun, RetailTransaction, Statement
from stores.models.job import JobCode
from stores.pipeline.sales.refused import record_refusals, refusals_of
from tests.support.make import make_customer, make_sale, run
from tests.support.orders import get_order, make_order

DAY = date(2026, 11, 20)
REFUSED_SALES = "/transactions/failed/alike/?cause=sale_refused:transaction_id:header"


def text_of(client, url="/"):
    """A page with single spaces."""
    return " ".join(client.get(url).content.decode().split())


@pytest.fixture
def orders(houston):
    """Three uploaded orders; the customer of W-2 is missing and that of W-3 is quarantined."""
    make_order(houston, "W-1")
    make_order(houston, "W-2", async_account=uuid4())
    make_order(houston, "W-3", async_account=make_customer(houston, title="x" * 21))
    run(JobCode.UPLOAD)


@pytest.mark.finding(id="A14")
@pytest.mark.slow
def test_uploaded_orders_and_sales_wait_for_their_jobs(houston, orders, reader):
    make_sale(houston, business_date=DAY)
    run(JobCode.UPLOAD)

    page = text_of(reader)

    assert "3</strong> customer orders: No sales order has been created yet" in page
    assert "1</strong> sale: Not validated yet" in page


def test_scheduled_runs_with_nothing_to_do_do_not_hide_the_others(houston, reader):
    make_customer(houston)
    converting = run("pipeline")
    for _ in range(6):
        JobRun.objects.create(
            job="pipeline",
            started_by="schedule",
            status="nothing_to_do",
            ended_at=timezone.now(),
        )

    runs = reader.get("/").context["runs"]

    assert [str(row.pk) for row in runs] == [converting["run"]]


def test_the_pipeline_can_be_started_beside_a_link_to_the_running_one(houston, user_of):
    live = JobRun.objects.create(job="pipeline")

    page = text_of(user_of("operator"))

    assert "Run pipeline</button>" in page
    assert f'<a class="btn btn-quiet" href="{live.get_absolute_url()}">' in page


@pytest.mark.slow
def test_the_next_step_names_a_job_only_to_users_who_may_start_it(houston, orders, user_of):
    advice = {role: text_of(user_of(role)) for role in ("auditor", "operator")}

    assert "Run Synchronize orders." in advice["operator"]
    assert "Run Synchronize orders." not in advice["auditor"]
    assert "Ask someone with permission to run jobs." in advice["auditor"]


@pytest.mark.finding(id="A14")
@pytest.mark.slow
def test_sales_wait_for_statements_and_statements_for_posting(houston, reader):
    make_sale(houston, business_date=DAY)
    for job in (JobCode.UPLOAD, JobCode.VALIDATE, JobCode.CALCULATE):
        run(job)
    make_sale(houston, business_date=DAY)
    run(JobCode.UPLOAD)
    run("validate")

    page = text_of(reader)

    assert "1</strong> statement: Calculated but not yet posted" in page
    assert "1</strong> sale: Valid but not yet in a statement" in page
    # The page of the end of day lists the statement instead of its sales.
    assert Statement.objects.get().number in text_of(reader, "/end-of-day/")


@pytest.mark.finding(id="A14")
@pytest.mark.slow
def test_an_order_waits_for_its_customer(orders, reader):
    run("sync-orders")

    page = text_of(reader)
    waiting_list = text_of(reader, "/transactions/?posted=waiting&reason=customer_missing")

    assert "1</strong> customer order: The customer it names has not arrived yet" in page
    assert "1</strong> customer order failed" in page
    assert get_order("W-2").transaction_id in waiting_list
    assert get_order("W-3").transaction_id not in waiting_list


@pytest.mark.finding(id="A14")
@pytest.mark.slow
def test_an_order_that_waits_for_days_needs_attention(orders, reader):
    run("sync-orders")
    waiting = RetailTransaction.objects.filter(confirmation_number="W-2")
    waiting.update(staged_at=timezone.now() - timedelta(days=2))

    assert "1</strong> customer order waiting: The customer it names" in text_of(reader)


@pytest.mark.finding(id="A14")
@pytest.mark.slow
def test_a_run_that_left_rows_behind_says_so(orders, reader):
    first = run("sync-orders")
    page_after_first = text_of(reader)
    second = run("sync-orders")

    assert first["outcome"] == "succeeded"
    assert "Succeeded, 1 failed" in page_after_first
    assert second["outcome"] == "nothing_to_do"
    run_url = JobRun.objects.newest_first()[0].get_absolute_url()
    for url in ("/", "/runs/", run_url):
        assert "Nothing done, 1 failed, 1 waiting" in text_of(reader, url)
    assert "Nothing to do" not in text_of(reader, run_url)


@pytest.mark.finding(id="P2")
def test_sales_that_the_database_refused_can_be_retried_together(houston, clerk):
    for number in ("T-1", "T-2"):
        make_sale(houston, business_date=DAY, transaction_id=number)
    run(JobCode.UPLOAD)
    run("validate")
    sales = list(RetailTransaction.objects.values_list("pk", flat=True))
    record_refusals(refusals_of(dict.fromkeys(sales, "SQLSTATE P0001")))
    assert run("eod")["outcome"] == "nothing_to_do"

    page = text_of(clerk, REFUSED_SALES)
    response = clerk.post(REFUSED_SALES, {"again": "1", "upto": max(sales)}, follow=True)

    assert "Retry unchanged" in page
    assert "2 transactions will be retried by the next run." in response.content.decode()
    assert run("eod")["counts"]["posted"] == 2
