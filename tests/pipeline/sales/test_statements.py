"""End of day posts every sale once, in a statement of its day and for a permanent account.

From conftest.py: `houston` is a store on PostgreSQL; `popup` is one on SQLite; `store` is a store,
once on PostgreSQL and once on SQLite.
"""

from datetime import date
from decimal import Decimal
from uuid import uuid4

import pytest
from django.db import DatabaseError, DataError, IntegrityError, connection

from stores.models import (
    Channel,
    Company,
    GuidMap,
    RetailTransaction,
    SalesOrder,
    Statement,
)
from stores.models.job import JobCode
from stores.models.statement import StatementState
from tests.support.make import article, make_customer, make_sale, run
from tests.support.processes import dying_at
from tests.support.promises import broken_promises
from tests.support.traces import trace

pytestmark = pytest.mark.slow

MONDAY = date(2026, 11, 16)
TUESDAY = date(2026, 11, 17)


def sell(store, *prices, business_date=MONDAY, **columns):
    return make_sale(store, *prices, business_date=business_date, **columns)


def customer_of(guid):
    return GuidMap.objects.get(async_account=guid).customer


@pytest.mark.scenario(id="T10")
def test_a_sale_is_posted_for_its_guid_s_account(store):
    ann = make_customer(store)
    sell(store, "40.00", "10.00", async_account=ann)

    end_of_day = run(JobCode.END_OF_DAY)

    order = SalesOrder.objects.get()
    assert end_of_day["outcome"] == "succeeded"
    assert order.customer == customer_of(ann)
    assert order.gross_amount == Decimal("53.50")
    assert order.state == "invoiced"
    assert order.payments.get().amount == Decimal("53.50")
    assert Statement.objects.get().state == StatementState.POSTED


@pytest.mark.scenario(id="T11")
def test_a_customer_gets_one_order_and_all_guests_share_one(popup):
    ann = make_customer(popup)
    run(JobCode.PIPELINE)
    account = customer_of(ann).account_number
    default_account = popup.channel.default_customer.account_number
    sell(popup, "10.00", async_account=ann)
    sell(popup, "20.00", account_number=account)
    sell(popup, "5.00")

    run(JobCode.END_OF_DAY)

    orders = SalesOrder.objects.values_list("customer__account_number", "gross_amount")
    assert sorted(orders) == sorted(
        [(account, Decimal("32.10")), (default_account, Decimal("5.35"))]
    )


@pytest.fixture
def interrupted_posting(popup) -> None:
    """Two days were being posted when the process died before Monday's orders were invoiced."""
    sell(popup, "10.00", business_date=MONDAY)
    sell(popup, "20.00", business_date=TUESDAY)
    with dying_at("statements:before_invoiced"):
        run(JobCode.END_OF_DAY)


@pytest.mark.scenario(id="T29")
def test_a_statement_in_a_closed_period_stops_no_other(interrupted_posting):
    Company.objects.update(closed_until=MONDAY)

    end_of_day = run(JobCode.END_OF_DAY)

    monday, tuesday = Statement.objects.order_by("business_date")
    assert end_of_day["outcome"] == "partly"
    message = f"{monday.number}: Its business date is in a closed period."
    assert message in end_of_day["message"]
    assert (monday.state, monday.reason) == (StatementState.ORDERS_CREATED, "period_closed")
    assert tuesday.state == StatementState.POSTED
    assert run(JobCode.POST)["outcome"] == "failed"


@pytest.mark.scenario(id="T29")
def test_a_statement_continues_where_it_failed_and_creates_nothing_twice(interrupted_posting):
    Company.objects.update(closed_until=MONDAY)
    run(JobCode.END_OF_DAY)
    Company.objects.update(closed_until=None)

    posting = run(JobCode.POST)

    assert (posting["outcome"], posting["counts"]) == ("succeeded", {"posted": 1})
    monday = Statement.objects.get(business_date=MONDAY)
    assert (monday.state, monday.attempts) == (StatementState.POSTED, 1)
    texts = [str(text) for text in monday.events.values_list("text", flat=True)]
    # It reached each of the nine states from Started to Posted once.
    assert [text for text in texts if "was not reached" not in text] == [
        "Started.",
        "Marked.",
        "Calculated.",
        "Checked.",
        "Aggregated.",
        "Customer orders created.",
        "Invoiced.",
        "Payments posted.",
        "Posted.",
    ]
    assert SalesOrder.objects.count() == 2
    assert broken_promises() == []


@pytest.mark.scenario(id="T29")
def test_a_statement_of_guests_fails_alone_without_a_default_customer(popup):
    sell(popup, "10.00", business_date=MONDAY)
    sell(popup, "20.00", business_date=TUESDAY, async_account=make_customer(popup))
    for job in (JobCode.UPLOAD, JobCode.VALIDATE, JobCode.CALCULATE):
        run(job)
    Channel.objects.update(default_customer=None)

    posting = run(JobCode.POST)

    guests, named = Statement.objects.order_by("business_date")
    assert posting["outcome"] == "failed"
    assert f"{guests.number}: The channel has no default customer" in posting["message"]
    assert guests.state == StatementState.CHECKED
    assert guests.reason == "default_customer_missing"
    assert named.state == StatementState.POSTED


@pytest.mark.scenario(id="T29")
def test_a_statement_of_guests_continues_with_a_new_default_customer(popup):
    sell(popup, "10.00")
    default_customer = popup.channel.default_customer
    Channel.objects.update(default_customer=None)
    assert run(JobCode.END_OF_DAY)["outcome"] == "partly"
    Channel.objects.update(default_customer=default_customer)

    assert run(JobCode.END_OF_DAY)["outcome"] == "succeeded"

    assert SalesOrder.objects.get().customer == default_customer


@pytest.mark.scenario(id="C6")
def test_a_sale_that_arrives_after_posting_gets_a_supplementary_statement(popup):
    sell(popup, "10.00")
    run(JobCode.END_OF_DAY)
    content_hash = bytes(Statement.objects.get().content_hash)
    sell(popup, "20.00")

    run(JobCode.END_OF_DAY)

    first, second = Statement.objects.order_by("sequence")
    assert bytes(first.content_hash) == content_hash
    assert (second.sequence, second.state) == (2, StatementState.POSTED)


@pytest.mark.scenario(id="C1")
def test_a_sale_that_does_not_add_up_stops_no_other(popup):
    sell(popup, "10.00", transaction_id="T-1", net_amount="11.00")
    sell(popup, "20.00", transaction_id="T-2")

    run(JobCode.END_OF_DAY)

    wrong, right = RetailTransaction.objects.order_by("transaction_id")
    assert (wrong.validation_status, wrong.statement) == ("error", None)
    assert set(wrong.errors.values_list("rule", flat=True)) == {"net_differs", "gross_differs"}
    assert right.validation_status == "successful"
    assert right.statement is not None


@pytest.mark.scenario(id="C4")
def test_a_sale_of_an_unknown_customer_is_not_posted(popup):
    sell(popup, "10.00", async_account=uuid4())

    run(JobCode.END_OF_DAY)

    sale = RetailTransaction.objects.get()
    assert sale.errors.get().rule == "customer_unknown"
    assert sale.sales_order is None


@pytest.mark.scenario(id="C3")
def test_postgresql_refuses_an_amount_too_large_for_its_column(houston):
    with pytest.raises(DataError, match="overflow"):
        sell(houston, net_amount="1e20")
    sell(houston, "10.00")

    assert run(JobCode.END_OF_DAY)["counts"]["posted"] == 1


@pytest.mark.fault("F-57")  # amounts in binary fractions
@pytest.mark.parametrize(
    ("currency", "unit", "half_unit"),
    [("JPY", "1", "0.5"), ("USD", "0.01", "0.005"), ("KWD", "0.001", "0.0005")],
)
def test_amounts_are_added_exactly_and_never_rounded(store, currency, unit, half_unit):
    price, tax = Decimal(unit) * 10, Decimal(unit)
    sell(
        store,
        lines=[article(str(price), tax_amount=str(tax)) for _ in range(300)],
        payments=payments_in_thirds(300 * (price + tax), currency),
        currency=currency,
    )
    too_fine = article(half_unit, tax_amount="0")
    sell(store, lines=[too_fine], transaction_id="T-2", currency=currency)

    run(JobCode.END_OF_DAY)

    statement = Statement.objects.get()
    total = statement.totals.get()
    assert (total.net_amount, total.tax_amount) == (300 * price, 300 * tax)
    assert sum(tender.amount for tender in statement.tenders.all()) == total.gross_amount
    refused = RetailTransaction.objects.get(transaction_id="T-2")
    assert "not_rounded" in refused.errors.values_list("rule", flat=True)


def payments_in_thirds(amount, currency):
    """Three payments in different tenders whose sum is the amount."""
    third = (amount / 3).quantize(amount)
    amounts = {"cash": third, "card": third, "voucher": amount - 2 * third}
    return [
        {"tender_type": tender_type, "amount": str(part), "currency": currency}
        for tender_type, part in amounts.items()
    ]


def test_running_end_of_day_twice_changes_nothing(store):
    sell(store, "10.00")
    run(JobCode.END_OF_DAY)

    assert run(JobCode.END_OF_DAY)["outcome"] == "nothing_to_do"
    assert SalesOrder.objects.count() == 1


def test_a_posted_statement_refuses_every_change(houston):
    sell(houston, "10.00")
    run(JobCode.END_OF_DAY)

    for statement in (
        "UPDATE statement SET business_date = business_date + 1",
        "UPDATE statement_total SET gross_amount = 0",
        "UPDATE retail_transaction SET gross_amount = 0",
        "UPDATE retail_transaction_line SET net_amount = 0",
        "DELETE FROM statement_tender",
        "UPDATE sales_order SET gross_amount = 0",
    ):
        with (
            pytest.raises(DatabaseError, match=r"posted|refused"),
            connection.cursor() as cursor,
        ):
            cursor.execute(statement)


@pytest.mark.scenario(id="T28")
@pytest.mark.parametrize(
    ("before", "after"), [("end_of_day", "trickle_feed"), ("trickle_feed", "end_of_day")]
)
def test_the_mode_of_statements_changes_only_between_statements(popup, before, after):
    Channel.objects.update(statement_mode=before)
    sell(popup, "10.00")
    for job in (JobCode.UPLOAD, JobCode.VALIDATE, JobCode.CALCULATE):
        run(job)

    with pytest.raises(IntegrityError, match="a statement is open"):
        Channel.objects.update(statement_mode=after)

    run(JobCode.POST)
    assert Channel.objects.update(statement_mode=after) == 1


def test_every_number_leads_to_the_trace_with_the_documents(popup):
    ann = make_customer(popup)
    sell(popup, "10.00", async_account=ann, transaction_id="T-1", receipt_number="R-77")
    sell(
        popup,
        transaction_type="customer_order",
        confirmation_number="W-1",
        async_account=ann,
        transaction_id="T-2",
    )
    run(JobCode.END_OF_DAY)
    run(JobCode.ORDERS)
    orders = SalesOrder.objects.filter(customer=customer_of(ann))
    invoice_number = orders.get(invoice_number__isnull=False).invoice_number
    order_numbers = orders.values_list("number", flat=True)

    for number in ("T-1", "R-77", "W-1", *order_numbers, invoice_number):
        customer_trace = trace(number)
        assert customer_trace.account_number == customer_of(ann).account_number, number
        documents = [(document["id"], document["state"]) for document in customer_trace.documents]
        assert documents == [("T-2", "posted"), ("T-1", "posted")], number


def test_the_trace_of_a_guest_s_sale_finds_no_customer(popup):
    sell(popup, "10.00")
    run(JobCode.END_OF_DAY)

    order = SalesOrder.objects.get()
    assert order.customer == popup.channel.default_customer
    assert trace(order.number) is None
