"""A14: every wait is on the overview with its reason; no run that left rows is plainly green."""

from datetime import date, timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from stores.models import JobRun, RetailTransaction, Statement
from stores.pipeline.sales.refused import keep_refused, refusals
from tests.support.make import make_customer, make_sale, run

DAY = date(2026, 11, 20)


def text_of(client, url="/"):
    return " ".join(client.get(url).content.decode().split())


def make_order(store, number, **columns):
    paid = {"payment_amount": "0", "payments": [], "business_date": DAY}
    order = {"transaction_type": "customer_order", "confirmation_number": number}
    make_sale(store, **paid, **order, **columns)


@pytest.mark.slow
def test_a14_every_wait_is_on_the_overview_with_its_reason_and_a_way_there(houston, reader):
    make_order(houston, "W-1")
    make_order(houston, "W-2", async_account=uuid4())
    make_order(houston, "W-3", async_account=make_customer(houston, title="x" * 21))
    make_sale(houston, business_date=DAY, transaction_id="T-1")
    run("P-0001")
    assert "3</strong> customer orders: No sales order has been created for it yet" in text_of(
        reader
    )
    assert "1</strong> sale: It has not been validated yet" in text_of(reader)
    run("validate")
    run("calculate-statements")
    make_sale(houston, business_date=DAY, transaction_id="T-2")
    run("P-0001")
    run("validate")

    found = run("sync-orders")

    page = text_of(reader)
    assert "1</strong> customer order: The customer it names has not arrived yet" in page
    assert "1</strong> customer order failed" in page
    assert "1</strong> statement: It is calculated but not yet posted" in page
    assert "1</strong> sale: It is valid but not yet in a statement" in page
    listed = text_of(reader, "/transactions/?posted=waiting&reason=customer_missing")
    waits, failed = (RetailTransaction.objects.get(confirmation_number=n) for n in ("W-2", "W-3"))
    assert waits.transaction_id in listed
    assert failed.transaction_id not in listed
    # What waits for long needs a person.
    RetailTransaction.objects.filter(pk=waits.pk).update(
        staged_at=timezone.now() - timedelta(days=2)
    )
    assert "1</strong> customer order waiting: The customer it names" in text_of(reader)
    # The board of the end of day has the statement, whose sales are in no row of it.
    assert Statement.objects.get().number in text_of(reader, "/end-of-day/")
    # The run succeeded, by the contract, and says what it left behind.
    assert found["outcome"] == "succeeded"
    assert "Succeeded, 1 failed" in page
    again = run("sync-orders")
    assert again["outcome"] == "nothing_to_do"
    for url in ("/", "/runs/", JobRun.objects.newest_first().first().get_absolute_url()):
        told = text_of(reader, url)
        assert "Nothing done, 1 failed, 1 waiting" in told
    assert "Nothing to do" not in text_of(
        reader, JobRun.objects.newest_first().first().get_absolute_url()
    )


def test_p2_what_the_database_refused_is_given_back_alike_once_it_is_mended(houston, clerk):
    for number in ("T-1", "T-2"):
        make_sale(houston, business_date=DAY, transaction_id=number)
    run("P-0001")
    run("validate")
    sales = list(RetailTransaction.objects.values_list("pk", flat=True))
    keep_refused(refusals(dict.fromkeys(sales, "SQLSTATE P0001")))
    cause = "sale_refused:transaction_id:header"
    page = text_of(clerk, f"/transactions/failed/alike/?cause={cause}")
    assert "Retry unchanged" in page
    assert run("eod")["outcome"] == "nothing_to_do"

    answer = clerk.post(
        f"/transactions/failed/alike/?cause={cause}",
        {"again": "1", "upto": max(sales)},
        follow=True,
    )

    assert "2 transactions will be retried by the next run." in answer.content.decode()
    assert run("eod")["counts"]["posted"] == 2
