"""The pages of transactions, orders and statements.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `reader` is a
client of a user who may see every page; `sales_day` is a business date that has ended; `sales` has
T-1, a posted sale, T-2, a synchronized order, and T-3, which does not add up.
"""

import csv

import pytest

from stores.models import Customer, RetailTransaction, SalesOrder, Statement
from stores.models.job import JobCode
from tests.support.make import make_customer, make_sale, run
from tests.support.pages import SALES, csv_rows, rows_of

pytestmark = pytest.mark.slow


def get_sale(transaction_id):
    return RetailTransaction.objects.get(transaction_id=transaction_id)


def test_the_page_of_every_transaction_order_and_statement_opens(reader, sales):
    rows = [
        *RetailTransaction.objects.all(),
        *SalesOrder.objects.all(),
        *Statement.objects.all(),
    ]
    urls = [row.get_absolute_url() for row in rows]

    statuses = {url: reader.get(url).status_code for url in urls}

    assert statuses == dict.fromkeys(urls, 200)


def test_the_page_of_a_transaction_names_its_errors(reader, sales):
    page = reader.get(get_sale("T-3").get_absolute_url()).content.decode()

    assert "Net amount: does not equal the sum of its lines" in page


def test_a_posted_statement_shows_the_states_of_its_orders(reader, sales):
    statement = Statement.objects.get()

    page = reader.get(statement.get_absolute_url()).content.decode()

    assert statement.state == "posted"
    assert "Invoiced" in page
    assert "Order created" not in page.split("Event log")[0]


def test_a_csv_file_has_the_rows_of_the_list(reader, sales, subtests):
    for url in SALES:
        with subtests.test(url):
            rows = csv_rows(reader.get(url, {"_export": "csv"}))
            assert len(rows) == reader.get(url).context["table"].paginator.count > 0


def test_every_column_sorts_in_both_directions(reader, sales, subtests):
    for url in SALES:
        columns = [c.name for c in reader.get(url).context["table"].columns if c.orderable]
        for sort in (*columns, *(f"-{column}" for column in columns)):
            with subtests.test(f"{url} by {sort}"):
                assert reader.get(url, {"sort": sort}).status_code == 200


def test_the_page_of_an_order_lists_its_payments_and_prepayments(reader, sales):
    run("eod")
    invoiced = SalesOrder.objects.get(transactions__transaction_id="T-1")
    prepaid = SalesOrder.objects.get(transactions__transaction_id="T-2")

    payments = reader.get(invoiced.get_absolute_url()).context["payments"]
    prepayments = reader.get(prepaid.get_absolute_url()).context["payments"]

    assert [payment.kind for payment in payments] == ["payment"]
    assert [payment.kind for payment in prepayments] == ["prepayment"]


def test_a_transaction_is_found_by_receipt_or_confirmation_number(reader, sales):
    [confirmed] = rows_of(reader.get("/transactions/", {"q": "SO-W1"}))
    [with_receipt] = rows_of(reader.get("/transactions/", {"q": "T-3"}))

    assert (confirmed.transaction_id, with_receipt.transaction_id) == ("T-2", "T-3")


def test_transactions_are_filtered_by_the_rule_that_they_break(reader, sales):
    [row] = rows_of(reader.get("/transactions/", {"rule": "net_differs"}))

    assert row.transaction_id == "T-3"


def test_every_rule_has_a_label_of_its_own(reader, sales, subtests):
    form = reader.get("/transactions/").context["filters"].form

    for name in ("rule", "why"):
        with subtests.test(name):
            labels = [label for _, label in form.fields[name].choices]
            assert len(labels) == len(set(labels))
            assert "Net amount: does not equal the sum of its lines" in labels


def test_the_orders_of_a_statement_are_exported(reader, sales):
    statement = Statement.objects.get()

    response = reader.get(statement.get_absolute_url(), {"_export": "csv"})

    header, row = csv.reader(response.getvalue().decode().splitlines())
    order = SalesOrder.objects.get(statement=statement)
    assert dict(zip(header, row, strict=True)) == {
        "Customer": "005001",
        "Currency": "USD",
        "Sales": "1",
        "Net": "10.0000",
        "Tax": "0.7000",
        "Total": "10.7000",
        "State": "Order created",
        "Reason": "",
        "Order": order.number,
    }


@pytest.fixture
def statement_with_failure(houston, sales_day) -> Statement:
    """A statement that could not be posted, because Bo's account is not active."""
    for name in ("Ann", "Bo"):
        make_sale(houston, business_date=sales_day, async_account=make_customer(houston, name))
    for job in (JobCode.UPLOAD, JobCode.VALIDATE, JobCode.CALCULATE):
        run(job)
    Customer.objects.filter(first_name="Bo").update(state="void")
    assert run("post-statements")["outcome"] == "failed"
    return Statement.objects.get()


@pytest.mark.finding(id="A9")
def test_the_failed_orders_of_a_statement_are_shown_and_exported(reader, statement_with_failure):
    url = f"{statement_with_failure.get_absolute_url()}?show=failures"

    [failed] = reader.get(url).context["aggregates"]
    [row] = csv_rows(reader.get(f"{url}&_export=csv"))

    assert statement_with_failure.state == "aggregated"
    assert statement_with_failure.reason == "customer_not_active"
    assert failed.customer == Customer.objects.get(first_name="Bo")
    assert (row["State"], row["Reason"]) == ("Failed", "customer_not_active")


@pytest.mark.finding(id="A9")
def test_a_statement_has_no_failed_orders_once_it_is_posted(reader, statement_with_failure):
    url = f"{statement_with_failure.get_absolute_url()}?show=failures"
    Customer.objects.filter(first_name="Bo").update(state="active")

    result = run("post-statements")

    assert result["counts"] == {"posted": 2}
    assert list(reader.get(url).context["aggregates"]) == []


def test_a_statement_lists_its_day_s_excluded_sales_by_reason(reader, sales, houston, sales_day):
    make_sale(houston, business_date=sales_day, transaction_id="T-4", entry_status="voided")
    run(JobCode.UPLOAD)

    excluded = reader.get(Statement.objects.get().get_absolute_url()).context["excluded"]

    # The payment of the order T-2 is in no statement yet.
    assert [(row["reason"], row["sales"]) for row in excluded] == [
        ("net_differs", 1),
        ("not_calculated", 1),
        ("voided", 1),
    ]
    for reason, transaction_id in (
        ("net_differs", "T-3"),
        ("not_calculated", "T-2"),
        ("voided", "T-4"),
    ):
        [row] = rows_of(reader.get("/transactions/", {"why": reason, "date": sales_day}))
        assert row.transaction_id == transaction_id
