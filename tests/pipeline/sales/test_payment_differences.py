"""Payments that differ from the total: which differences are allowed, and how they are posted.

From conftest.py: `houston` is a store on PostgreSQL.
"""

from decimal import Decimal

import pytest

from stores.models import Company, PaymentRounding, PostedPayment, RetailTransaction
from stores.models.job import JobCode
from tests.support.make import article, make_customer, make_sale, run
from tests.support.promises import broken_promises

pytestmark = [pytest.mark.slow, pytest.mark.finding(id="P42")]

# Currency, total, payments, and the kind under which the difference is posted.
ALLOWED_DIFFERENCES = {
    "coins, rounded down": ("CZK", "35.20", [("cash", "35.00")], "rounding_difference"),
    "coins, rounded up": ("CZK", "34.80", [("cash", "35.00")], "rounding_difference"),
    "coins, a tie": ("CZK", "34.50", [("Cash", "35.00")], "rounding_difference"),
    "card and coins": ("CZK", "35.20", [("card", "20.10"), ("cash", "15")], "rounding_difference"),
    "coins and change": ("CZK", "35.20", [("cash", "50"), ("cash", "-15")], "rounding_difference"),
    "less than a coin": ("CZK", "0.40", [("cash", "0")], "rounding_difference"),
    "money back in coins": ("CZK", "-35.20", [("cash", "-35.00")], "rounding_difference"),
    "tolerance of the tender": ("EUR", "10.03", [("voucher", "10.00")], "payment_difference"),
    "tolerance of the company, USD": ("USD", "10.50", [("card", "10.00")], "payment_difference"),
    "tolerance of the company, KWD": ("KWD", "10.000", [("card", "9.950")], "payment_difference"),
    "tolerance of the company, JPY": ("JPY", "1000", [("card", "950")], "payment_difference"),
    "overpaid within tolerance": ("USD", "9.50", [("card", "10.00")], "payment_difference"),
}
# Currency, total and payments.
REFUSED_DIFFERENCES = {
    "more than half a coin": ("CZK", "35.60", [("cash", "35.00")]),
    "cash that is no coin": ("CZK", "35.20", [("cash", "34.90")]),
    "coins of a card": ("CZK", "35.20", [("card", "35.00")]),
    "more than the tolerance of the tender": ("EUR", "10.06", [("voucher", "10.00")]),
    "tolerance of another tender": ("EUR", "10.03", [("cash", "10.00")]),
    "more than the tolerance in KWD": ("KWD", "10.000", [("card", "9.500")]),
}


@pytest.fixture
def tolerances(houston) -> None:
    """Coins of 1 CZK, 0.05 EUR for vouchers, and 0.50 for all that has no rule of its own."""
    company = houston.channel.company
    Company.objects.update(payment_tolerance="0.50")
    PaymentRounding.objects.create(
        company=company, currency="CZK", tender_type="cash", rounding_unit=1
    )
    PaymentRounding.objects.create(company=company, currency="CZK")
    PaymentRounding.objects.create(
        company=company, currency="EUR", tender_type="Voucher", tolerance="0.05"
    )
    PaymentRounding.objects.create(company=company, currency="EUR")


def sum_of(payments):
    return sum(Decimal(amount) for _, amount in payments)


def sell(database, transaction_id, currency, total, payments):
    """A sale, or a return where the total is negative; each has a customer and so an order."""
    is_return = total.startswith("-")
    line = article(
        total.lstrip("-"), tax_amount="0", net_amount=total, quantity="-1" if is_return else "1"
    )
    make_sale(
        database,
        transaction_id=transaction_id,
        transaction_type="return" if is_return else "sale",
        currency=currency,
        lines=[line],
        payments=[
            {"tender_type": tender_type, "amount": amount, "currency": currency}
            for tender_type, amount in payments
        ],
        payment_amount=str(sum_of(payments)),
        async_account=make_customer(database, transaction_id),
    )


def test_an_allowed_difference_is_posted_under_its_kind(houston, tolerances, subtests):
    for name, (currency, total, payments, _) in ALLOWED_DIFFERENCES.items():
        sell(houston, name, currency, total, payments)

    run(JobCode.END_OF_DAY)

    for name, (_, total, payments, kind) in ALLOWED_DIFFERENCES.items():
        with subtests.test(name):
            order = RetailTransaction.objects.get(transaction_id=name).sales_order
            posted = PostedPayment.objects.filter(sales_order=order)
            differences = posted.exclude(kind="payment").values_list("kind", "amount")
            assert list(differences) == [(kind, Decimal(total) - sum_of(payments))]
            assert sum(payment.amount for payment in posted) == order.gross_amount
    assert broken_promises() == []


def test_a_difference_beyond_the_tolerance_is_refused(houston, tolerances):
    for name, (currency, total, payments) in REFUSED_DIFFERENCES.items():
        sell(houston, name, currency, total, payments)

    run(JobCode.END_OF_DAY)

    errors = RetailTransaction.objects.values_list("transaction_id", "errors__rule")
    assert set(errors) == {(name, "not_paid") for name in REFUSED_DIFFERENCES}
    assert not PostedPayment.objects.exists()
    assert broken_promises() == []
