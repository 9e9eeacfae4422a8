"""The page of the end of day: what is ready to be posted, what blocks it, and what was posted.

From conftest.py: `houston` is a store on PostgreSQL; `reader` is a client of a user who may see
every page; `sales_day` is a business date that has ended.
"""

from uuid import uuid4

import pytest
from django.utils import timezone

from stores.models import Statement
from stores.models.job import JobCode
from tests.support.make import make_customer, make_sale, run
from tests.support.pages import rows_of

pytestmark = pytest.mark.slow

URL = "/end-of-day/"


def get_board(reader):
    """The days that are not posted yet."""
    return reader.get(URL).context["board"]


def blockers_of(day):
    """The reasons why sales of a day cannot be posted, with the number of sales."""
    return [(blocker.reason, blocker.sales) for blocker in day.blockers]


def test_a_sale_of_a_missing_customer_blocks_its_day(reader, houston, sales_day):
    make_sale(houston, business_date=sales_day, async_account=make_customer(houston))
    make_sale(houston, business_date=sales_day, async_account=uuid4())
    run(JobCode.UPLOAD)

    [day] = get_board(reader)

    assert (day.sales, day.customers) == (2, 1)
    assert blockers_of(day) == [("customer_missing", 1)]


def test_a_missing_customer_is_called_unknown_after_validation(reader, houston, sales_day):
    make_sale(houston, business_date=sales_day, async_account=uuid4())
    run("eod")

    [day] = get_board(reader)

    assert blockers_of(day) == [("customer_unknown", 1)]


def test_a_day_without_blockers_is_ready_and_can_be_posted(reader, houston, sales_day):
    make_sale(houston, business_date=sales_day, async_account=make_customer(houston))
    run(JobCode.UPLOAD)
    [day] = get_board(reader)

    result = run("eod")

    assert day.is_ready
    assert result["outcome"] == "succeeded"
    assert get_board(reader) == []


def test_voided_sales_are_counted_apart(reader, houston):
    today = timezone.now().date()
    make_sale(houston, business_date=today, transaction_id="T-1", entry_status="voided")
    make_sale(houston, business_date=today, transaction_id="T-2")
    run(JobCode.UPLOAD)

    context = reader.get(URL).context
    [excluded] = rows_of(reader.get("/transactions/", {"posted": "excluded"}))

    assert [day.sales for day in context["board"]] == [1]
    assert [(row["business_date"], row["sales"]) for row in context["voided"]] == [(today, 1)]
    assert excluded.transaction_id == "T-1"


def test_quarantined_sales_are_counted_with_a_link(reader, houston, sales_day):
    make_sale(houston, business_date=sales_day, currency="usd")
    run(JobCode.UPLOAD)

    response = reader.get(URL)

    [quarantined] = response.context["quarantined"]
    link = "/quarantine/?channel=houston&amp;table=retail_transaction&amp;status=open"
    assert quarantined["count"] == 1
    assert f'{link}">1 from Houston' in response.content.decode()
    assert len(rows_of(reader.get(link.replace("&amp;", "&")))) == 1


def test_a_posted_day_links_to_its_statement(reader, houston):
    make_sale(houston, business_date=timezone.now().date())
    run("eod")
    statement = Statement.objects.get()

    page = reader.get(URL).content.decode()

    assert f'<a href="{statement.get_absolute_url()}">{statement}</a>' in page
