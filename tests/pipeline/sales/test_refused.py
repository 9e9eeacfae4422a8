"""A sale, a day or a statement that cannot be posted: the others are posted without it.

From conftest.py: `houston` is a store on PostgreSQL; `command` calls a management command and
returns its output; `raise_on` lets HQ refuse certain rows of a table.
"""

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import pytest
from django.core.management.base import CommandError

from stores.models import (
    Company,
    FailedSale,
    RetailTransaction,
    SalesOrder,
    Statement,
    TransactionError,
)
from stores.models.job import JobCode
from stores.models.statement import StatementState
from stores.pipeline.corrections.sale import (
    CorrectionRefused,
    correct_transaction,
    lease_transaction,
    release_lease,
)
from stores.pipeline.sales.statement_sales import CancellationRefused, cancel_open_statement
from tests.support.make import make_customer, make_sale, run
from tests.support.processes import dying_at
from tests.support.promises import broken_promises

MONDAY = date(2026, 11, 2)
TUESDAY = date(2026, 11, 3)
WEDNESDAY = date(2026, 11, 4)


def sell(channel, transaction_id, day, *, currency="USD", tender="cash", payments=None, **columns):
    """A sale on a day, paid with one tender or with the pairs of tender and amount given."""
    pairs = payments or [(tender, "10.70")]
    return make_sale(
        channel,
        transaction_id=transaction_id,
        business_date=day,
        currency=currency,
        payments=[
            {"tender_type": tender_type, "amount": amount, "currency": currency}
            for tender_type, amount in pairs
        ],
        **columns,
    )


def get_sale(transaction_id):
    return RetailTransaction.objects.select_related("statement").get(transaction_id=transaction_id)


def broken_rules(transaction_id):
    errors = TransactionError.objects.filter(transaction__transaction_id=transaction_id)
    return set(errors.values_list("rule", flat=True))


@dataclass(frozen=True)
class Refusal:
    """HQ refuses a write of the bad sale of a day, which these columns mark."""

    table: str
    event: str
    condition: str
    columns: dict[str, Any] = field(default_factory=dict)


REFUSALS = {
    "mark": Refusal(
        "retail_transaction", "UPDATE OF statement_id", "NEW.transaction_id = 'bad-mark'"
    ),
    "total": Refusal("statement_total", "INSERT", "NEW.currency = 'SEK'", {"currency": "SEK"}),
    "tender": Refusal(
        "statement_tender", "INSERT", "NEW.tender_type = 'voucher'", {"tender": "voucher"}
    ),
    "aggregate": Refusal(
        "statement_aggregate", "INSERT", "NEW.currency = 'NOK'", {"currency": "NOK"}
    ),
    "order": Refusal("sales_order", "INSERT", "NEW.currency = 'DKK'", {"currency": "DKK"}),
    "invoice": Refusal(
        "sales_order", "UPDATE OF invoice_number", "NEW.currency = 'CHF'", {"currency": "CHF"}
    ),
    "payment": Refusal(
        "posted_payment", "INSERT", "NEW.tender_type = 'points'", {"tender": "points"}
    ),
    # The row of the sale cannot be updated at all: not even its status.
    "sale": Refusal("retail_transaction", "UPDATE", "NEW.transaction_id = 'bad-sale'"),
}


@pytest.mark.finding(id="P2")
@pytest.mark.slow
def test_a_sale_that_cannot_be_posted_stops_no_other(houston, raise_on):
    days = {name: MONDAY + timedelta(days=n) for n, name in enumerate(REFUSALS)}
    for name, refusal in REFUSALS.items():
        raise_on(refusal.table, refusal.event, refusal.condition)
        sell(houston, f"bad-{name}", days[name], **refusal.columns)
        sell(houston, f"good-{name}-1", days[name])
        sell(houston, f"good-{name}-2", days[name])

    end_of_day = run(JobCode.END_OF_DAY)

    bad = {f"bad-{name}" for name in REFUSALS}
    good = {f"good-{name}-{n}" for name in REFUSALS for n in (1, 2)}
    assert end_of_day["outcome"] == "succeeded"
    assert end_of_day["counts"]["posted"] == len(good)
    states = RetailTransaction.objects.values_list("transaction_id", "statement__state")
    assert dict(states) == dict.fromkeys(good, StatementState.POSTED) | dict.fromkeys(bad, None)
    errors = TransactionError.objects.values_list("transaction__transaction_id", "rule")
    assert set(errors) == {(transaction_id, "sale_refused") for transaction_id in bad}
    failed = FailedSale.objects.values_list("transaction__transaction_id", flat=True)
    assert set(failed) == bad
    assert not Statement.objects.stuck().exists()
    # Orders that had their numbers keep them: those days are posted by a second statement.
    second = Statement.objects.filter(sequence=2).values_list("business_date", flat=True)
    assert set(second) == {days["invoice"], days["payment"]}
    assert broken_promises() == []
    # The next run does not try the bad sales again.
    assert run(JobCode.END_OF_DAY)["outcome"] == "nothing_to_do"


# Paid by card and given back in cash: a bar code was scanned as an amount.
BAR_CODE = [("card", "87189074007180.00"), ("cash", "-87189074007169.30")]


@pytest.mark.finding(id="P2")
def test_sales_with_too_large_a_sum_are_named_and_left_out(houston):
    sell(houston, "T-1", MONDAY, payments=BAR_CODE)
    sell(houston, "T-2", MONDAY, payments=BAR_CODE)
    sell(houston, "T-3", MONDAY)
    sell(houston, "T-4", TUESDAY)
    # Each of these amounts fits into its column, but not their sum.
    sell_for_60_trillion(houston, "T-5", WEDNESDAY)
    sell_for_60_trillion(houston, "T-6", WEDNESDAY)
    sell(houston, "T-7", WEDNESDAY)

    end_of_day = run(JobCode.END_OF_DAY)

    assert end_of_day["counts"]["posted"] == 3
    for transaction_id in ("T-1", "T-2", "T-5", "T-6"):
        assert broken_rules(transaction_id) == {"sum_too_large"}, transaction_id
    for transaction_id in ("T-3", "T-4", "T-7"):
        assert get_sale(transaction_id).statement.state == "posted", transaction_id
    assert broken_promises() == []


@pytest.mark.finding(id="P2")
def test_a_sale_that_was_part_of_too_large_a_sum_is_posted_once_corrected(houston, hq_user):
    sell(houston, "T-1", MONDAY, payments=BAR_CODE)
    sell(houston, "T-2", MONDAY, payments=BAR_CODE)
    run(JobCode.END_OF_DAY)
    sale = get_sale("T-1")
    card, cash = sale.payments.all()
    lease_transaction(sale, hq_user)
    changes = {card: {"amount": 0}, cash: {"amount": "10.70"}}
    correct_transaction(sale, hq_user, "Bar code", changes)

    assert run(JobCode.END_OF_DAY)["counts"]["posted"] == 1

    assert get_sale("T-1").statement.state == "posted"
    assert broken_promises() == []


@pytest.mark.finding(id="P2")
def test_a_sale_that_fits_by_itself_is_posted_once_it_is_given_back(houston, hq_user):
    sell_for_60_trillion(houston, "T-5", WEDNESDAY)
    sell_for_60_trillion(houston, "T-6", WEDNESDAY)
    sell(houston, "T-7", WEDNESDAY)
    run(JobCode.END_OF_DAY)
    lease_transaction(get_sale("T-5"), hq_user)
    release_lease(get_sale("T-5"), hq_user)

    assert run(JobCode.END_OF_DAY)["counts"]["posted"] == 1

    assert get_sale("T-5").statement.sequence == 2
    assert broken_promises() == []


def sell_for_60_trillion(channel, transaction_id, day):
    amount = "60000000000000.00"
    line = {"item_id": "1", "quantity": "1", "price": amount, "net_amount": amount}
    line |= {"tax_amount": "0", "discount_amount": "0"}
    sell(
        channel,
        transaction_id,
        day,
        payments=[("cash", amount)],
        lines=[line],
        net_amount=amount,
        tax_amount="0",
        gross_amount=amount,
        payment_amount=amount,
    )


@pytest.mark.finding(id="P2")
def test_a_sale_or_order_that_the_database_refuses_fails_alone(houston, raise_on):
    raise_on("retail_transaction", "UPDATE OF validation_status", "NEW.transaction_id = 'T-1'")
    raise_on("sales_order", "INSERT", "NEW.confirmation_number = 'W-1'", code="XX000")
    sell(houston, "T-1", MONDAY)
    sell(houston, "T-2", MONDAY)
    for number in ("W-1", "W-2"):
        order = {"transaction_type": "customer_order", "confirmation_number": number}
        sell(houston, number, MONDAY, async_account=make_customer(houston), **order)

    end_of_day = run(JobCode.END_OF_DAY)
    orders = run(JobCode.ORDERS)

    assert end_of_day["outcome"] == "succeeded"
    assert (orders["counts"]["posted"], orders["counts"]["failed"]) == (1, 1)
    assert get_sale("T-2").statement.state == StatementState.POSTED
    assert broken_rules("T-1") == {"sale_refused"}
    assert broken_rules("W-1") == {"sale_refused"}
    order = get_sale("W-1")
    assert (order.order_status, order.order_reason) == ("failed", "sale_refused")
    # A scheduled run skips the failed order; a person tries it again by its number.
    assert run(JobCode.ORDERS)["counts"] == {}
    assert run(JobCode.ORDERS, order_number="W-1")["counts"]["failed"] == 1


@pytest.mark.finding(id="P2")
def test_a_refused_statement_says_why_and_stops_no_other(houston, raise_on):
    raise_on("statement", "INSERT", f"NEW.business_date = '{MONDAY}'")
    raise_on("statement", "UPDATE OF posted_at", f"NEW.business_date = '{TUESDAY}'", code="22000")
    for transaction_id, day in (("T-0", MONDAY), ("T-1", TUESDAY), ("T-2", WEDNESDAY)):
        sell(houston, transaction_id, day)

    end_of_day = run(JobCode.END_OF_DAY)

    assert end_of_day["outcome"] == "partly"
    stuck, posted = Statement.objects.order_by("business_date")
    assert (stuck.state, stuck.reason) == (StatementState.PAYMENTS_POSTED, "statement_refused")
    assert "SQLSTATE 22000" in str(stuck.message)
    assert stuck.attempts == 1
    assert posted.state == StatementState.POSTED
    with pytest.raises(CancellationRefused, match="payments of"):
        cancel_open_statement(stuck, "No way back")


# How far a statement came before the period of its day was closed, and where it was stopped.
STOPPED_AT = {
    "calculated": None,
    "orders_created": "statements:before_invoiced",
    "invoiced": "statements:before_payments_posted",
}


@pytest.fixture(params=STOPPED_AT)
def stuck_statement(houston, request) -> Statement:
    """A statement of two sales that cannot be posted, because its period was closed."""
    sell(houston, "T-1", MONDAY)
    sell(houston, "T-2", MONDAY, async_account=make_customer(houston))
    for job in (JobCode.UPLOAD, JobCode.VALIDATE, JobCode.CALCULATE):
        run(job)
    if failpoint := STOPPED_AT[request.param]:
        with dying_at(failpoint):
            run(JobCode.POST)
    Company.objects.update(closed_until=MONDAY)
    assert run(JobCode.POST)["outcome"] == "failed"
    statement = Statement.objects.get()
    assert (statement.state, statement.reason) == (request.param, "period_closed")
    return statement


@pytest.mark.finding(id="V11")
@pytest.mark.slow
def test_sales_of_an_open_statement_cannot_be_corrected(stuck_statement, hq_user):
    with pytest.raises(CorrectionRefused, match="cancel that statement first"):
        lease_transaction(get_sale("T-1"), hq_user)


@pytest.mark.finding(id="V11")
@pytest.mark.slow
def test_cancelling_a_statement_releases_its_sales(stuck_statement, command):
    output = command("statements", "cancel", stuck_statement.number, "--reason", "Period closed")

    assert "2 sales are released" in output
    stuck_statement.refresh_from_db()
    assert stuck_statement.state == StatementState.CANCELLED
    assert set(SalesOrder.objects.values_list("state", flat=True)) <= {"cancelled"}
    with pytest.raises(CommandError, match="already cancelled"):
        command("statements", "cancel", stuck_statement.number, "--reason", "Again")


@pytest.mark.finding(id="V11")
@pytest.mark.slow
def test_sales_of_a_cancelled_statement_are_posted_by_another(stuck_statement):
    cancel_open_statement(stuck_statement, "Period closed")

    run(JobCode.VALIDATE)
    assert broken_rules("T-1") == {"period_closed"}
    assert broken_rules("T-2") == {"period_closed"}
    # A person moves both to a day that is open.
    RetailTransaction.objects.update(business_date=TUESDAY)
    assert run(JobCode.END_OF_DAY)["counts"]["posted"] == 2

    assert get_sale("T-1").statement == get_sale("T-2").statement != stuck_statement
    assert broken_promises() == []
