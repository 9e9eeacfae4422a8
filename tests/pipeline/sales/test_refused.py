"""P2, V11: one sale, day or state that fails holds up no other, and nothing is stuck for ever."""

from datetime import date, timedelta

import pytest
from django.contrib.auth.models import User
from django.core.management.base import CommandError

from stores import failpoints
from stores.models import (
    Company,
    FailedSale,
    RetailTransaction,
    SalesOrder,
    Statement,
    TransactionError,
)
from stores.models.statement import StatementState
from stores.pipeline.corrections.sale import MendingRefused, lease, let_go, mend
from stores.pipeline.integrity.verify import verify
from stores.pipeline.sales.statement_sales import NotCancelled, cancel_statement
from tests.support.make import make_customer, make_sale, run
from tests.support.processes import Died, die

FIRST = date(2026, 11, 2)
# What a trigger raises on, and the columns by which the sale of a day is marked.
PLANTED = {
    "retail_transaction": ("UPDATE OF statement_id", "NEW.transaction_id = '{bad}'", {}),
    "statement_total": ("INSERT", "NEW.currency = 'SEK'", {"currency": "SEK"}),
    "statement_tender": ("INSERT", "NEW.tender_type = 'voucher'", {"tender": "voucher"}),
    "statement_aggregate": ("INSERT", "NEW.currency = 'NOK'", {"currency": "NOK"}),
    "sales_order": ("INSERT", "NEW.currency = 'DKK'", {"currency": "DKK"}),
    "sales_order ": ("UPDATE OF invoice_number", "NEW.currency = 'CHF'", {"currency": "CHF"}),
    "posted_payment": ("INSERT", "NEW.tender_type = 'points'", {"tender": "points"}),
    # A row that can only be read: not even its status can be written.
    "retail_transaction ": ("UPDATE", "NEW.transaction_id = '{bad}'", {}),
}


def sell(channel, number, day, *, currency="USD", tender="cash", payments=None, **columns):
    amounts = payments or [(tender, "10.70")]
    return make_sale(
        channel,
        transaction_id=number,
        business_date=day,
        currency=currency,
        payments=[
            {"tender_type": name, "amount": amount, "currency": currency}
            for name, amount in amounts
        ],
        **columns,
    )


def sale(number):
    return RetailTransaction.objects.select_related("statement").get(transaction_id=number)


def rules(number):
    return set(
        TransactionError.objects.filter(transaction__transaction_id=number).values_list(
            "rule", flat=True
        )
    )


def broken():
    return [check.id for check in verify() if not check.ok]


@pytest.mark.slow
def test_p2_whatever_fails_in_a_state_takes_out_its_sale_and_posts_all_others(houston, plant):
    days = {}
    for place, (table, (event, condition, marks)) in enumerate(PLANTED.items()):
        day = days[table] = FIRST + timedelta(days=place)
        plant(table.strip(), event, condition.format(bad=f"bad-{place}"))
        sell(houston, f"bad-{place}", day, **marks)
        for number in (f"good-{place}", f"fine-{place}"):
            sell(houston, number, day)

    found = run("eod")

    assert found["outcome"] == "succeeded"
    assert found["counts"]["posted"] == 2 * len(PLANTED)
    for place, table in enumerate(PLANTED):
        for number in (f"good-{place}", f"fine-{place}"):
            assert sale(number).statement.state == StatementState.POSTED, table
        assert sale(f"bad-{place}").statement is None, table
        assert rules(f"bad-{place}") == {"sale_refused"}, table
        assert FailedSale.objects.filter(transaction__transaction_id=f"bad-{place}").exists(), table
    assert not Statement.objects.stuck().exists()
    # Where orders had their numbers, these are kept and count no more.
    again = set(Statement.objects.filter(sequence=2).values_list("business_date", flat=True))
    assert again == {days["sales_order "], days["posted_payment"]}
    assert broken() == []
    # The next run passes them, and nothing is tried in vain.
    assert run("eod")["outcome"] == "nothing_to_do"


def test_p2_sums_that_do_not_fit_are_named_and_the_corrected_sales_are_posted(houston):
    bar_code = [("card", "87189074007180.00"), ("cash", "-87189074007169.30")]
    for number in ("T-1", "T-2"):
        sell(houston, number, FIRST, payments=bar_code)
    sell(houston, "T-3", FIRST)
    sell(houston, "T-4", FIRST + timedelta(days=1))
    # Each fits, two of them together do not; beside them one that is large and fits.
    half = dict.fromkeys(("net_amount", "gross_amount", "payment_amount"), "60000000000000.00")
    line = {"item_id": "1", "quantity": "1", "price": "60000000000000.00"}
    line |= {"net_amount": line["price"], "tax_amount": "0", "discount_amount": "0"}
    for number in ("T-5", "T-6"):
        paid = [("cash", "60000000000000.00")]
        columns = half | {"tax_amount": "0", "lines": [line]}
        sell(houston, number, FIRST + timedelta(days=2), payments=paid, **columns)
    sell(houston, "T-7", FIRST + timedelta(days=2))

    found = run("eod")

    assert found["counts"]["posted"] == 3
    assert all(rules(number) == {"sum_too_large"} for number in ("T-1", "T-2", "T-5", "T-6"))
    assert [sale(number).statement.state for number in ("T-3", "T-4", "T-7")] == ["posted"] * 3
    # One is corrected, one is given back as it is.
    clerk = User.objects.create_user("clerk")
    wrong = sale("T-1")
    lease(wrong, clerk)
    card, cash = wrong.payments.all()
    mend(wrong, clerk, "Bar code", {card: {"amount": 0}, cash: {"amount": "10.70"}})
    assert run("eod")["counts"]["posted"] == 1
    lease(sale("T-5"), clerk)
    let_go(sale("T-5"), clerk)
    assert run("eod")["counts"]["posted"] == 1
    assert sale("T-5").statement.sequence == 2
    assert broken() == []


def test_p2_an_order_or_a_sale_that_validation_cannot_judge_holds_up_no_other(houston, plant):
    plant("retail_transaction", "UPDATE OF validation_status", "NEW.transaction_id = 'T-1'")
    plant("sales_order", "INSERT", "NEW.confirmation_number = 'W-1'", code="XX000")
    sell(houston, "T-1", FIRST)
    sell(houston, "T-2", FIRST)
    for number in ("W-1", "W-2"):
        columns = {"transaction_type": "customer_order", "confirmation_number": number}
        sell(houston, number, FIRST, async_account=make_customer(houston), **columns)

    assert run("eod")["outcome"] == "succeeded"
    found = run("sync-orders")

    assert (found["counts"]["posted"], found["counts"]["failed"]) == (1, 1)
    assert sale("T-2").statement.state == StatementState.POSTED
    assert rules("T-1") == rules("W-1") == {"sale_refused"}
    assert (sale("W-1").order_status, sale("W-1").order_reason) == ("failed", "sale_refused")
    # A scheduled run passes it; a person tries it again by its number.
    assert run("sync-orders")["counts"] == {}
    assert run("sync-orders", order_number="W-1")["counts"]["failed"] == 1


def test_p2_a_statement_that_fails_without_a_culprit_says_why_and_others_go_on(houston, plant):
    second = FIRST + timedelta(days=1)
    plant("statement", "UPDATE OF posted_at", f"NEW.business_date = '{FIRST}'", code="22000")
    plant("statement", "INSERT", f"NEW.business_date = '{FIRST - timedelta(days=1)}'")
    for number, day in (("T-0", FIRST - timedelta(days=1)), ("T-1", FIRST), ("T-2", second)):
        sell(houston, number, day)

    found = run("eod")

    assert found["outcome"] == "partly"
    stuck, posted = Statement.objects.order_by("business_date")
    assert (stuck.state, stuck.reason) == (StatementState.PAYMENTS_POSTED, "statement_refused")
    assert "SQLSTATE 22000" in stuck.message
    assert stuck.attempts == 1
    assert posted.state == StatementState.POSTED
    with pytest.raises(NotCancelled, match="payments of"):
        cancel_statement(stuck, "No way back")


@pytest.mark.slow
@pytest.mark.parametrize("reached", ["calculated", "orders_created", "invoiced"])
def test_v11_a_statement_that_is_not_posted_is_cancelled_and_its_sales_are_corrected(
    houston, command, monkeypatch, reached
):
    sell(houston, "T-1", FIRST)
    ann = make_customer(houston)
    sell(houston, "T-2", FIRST, async_account=ann)
    for job in ("P-0001", "validate", "calculate-statements"):
        run(job)
    if reached != "calculated":
        at = {"orders_created": "before_invoiced", "invoiced": "before_payments_posted"}[reached]
        with monkeypatch.context() as patch:
            patch.setitem(failpoints.armed, f"statements:{at}", die)
            with pytest.raises(Died):
                run("post-statements")
    Company.objects.update(closed_until=FIRST)
    assert run("post-statements")["outcome"] == "failed"
    statement = Statement.objects.get()
    assert (statement.state in (reached, "calculated"), statement.reason) == (True, "period_closed")
    with pytest.raises(MendingRefused, match="cancel that statement first"):
        lease(sale("T-1"), User.objects.create_user("clerk"))

    told = command("statements", "cancel", statement.number, "--reason", "Period closed")

    assert "2 sales are released" in told
    statement.refresh_from_db()
    assert statement.state == StatementState.CANCELLED
    assert set(SalesOrder.objects.values_list("state", flat=True)) <= {"cancelled"}
    run("validate")
    assert rules("T-1") == rules("T-2") == {"period_closed"}
    RetailTransaction.objects.update(business_date=FIRST + timedelta(days=1))
    assert run("eod")["counts"]["posted"] == 2
    assert sale("T-2").customer.guids.get().async_account == ann
    assert broken() == []
    with pytest.raises(CommandError, match="already cancelled"):
        command("statements", "cancel", statement.number, "--reason", "Again")
