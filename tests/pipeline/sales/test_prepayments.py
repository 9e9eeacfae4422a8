"""All that a drawer took is in the books of its day: deposits, instalments, and coins rounded."""

from datetime import date
from decimal import Decimal
from uuid import uuid4

import pytest
from django.contrib.auth.models import User

from stores.models import (
    Company,
    GuidMap,
    PaymentRounding,
    PostedPayment,
    RetailTransaction,
    SalesOrder,
    Statement,
)
from stores.pipeline.corrections.sale import MendingRefused, lease, mend
from stores.pipeline.integrity.verify import verify
from tests.support.make import article, make_customer, make_event, make_sale, run

pytestmark = pytest.mark.slow

DAY = date(2026, 11, 20)
NOTHING = dict.fromkeys(("net_amount", "tax_amount", "gross_amount"), "0")


def order(database, *paid, **columns):
    """A customer order of 10.70 with payments, each a tender and an amount. Returns its number."""
    payments = [
        {"tender_type": tender, "amount": amount, "currency": "USD"} for tender, amount in paid
    ]
    columns.setdefault("confirmation_number", f"SO-{uuid4().hex[:8]}")
    columns.setdefault("payment_amount", str(sum(Decimal(amount) for _, amount in paid)))
    make_sale(
        database,
        transaction_type="customer_order",
        business_date=DAY,
        payments=payments,
        **columns,
    )
    return columns["confirmation_number"]


def of(number):
    return RetailTransaction.objects.get(confirmation_number=number)


def tenders(statement):
    return {
        row.tender_type: (row.count, row.amount, row.prepaid_amount)
        for row in statement.tenders.all()
    }


def prepaid_for(number):
    """What was posted of an order: for which account, in which tender, how much."""
    found = PostedPayment.objects.filter(transaction=of(number))
    assert not found.exclude(kind="prepayment").exists()
    return list(found.values_list("customer__account_number", "tender_type", "amount"))


def broken_promises():
    return [(check.id, check.offending) for check in verify() if not check.ok]


def test_p6_what_orders_were_paid_is_posted_on_its_day_and_once(store):
    ann, home = make_customer(store), uuid4()
    first = order(store, ("card", "3.00"), async_account=ann)
    waits = order(store, ("cash", "2.00"), async_account=ann, delivery_address_id=home)
    guest = order(store, ("card", "5.00"), ("card", "-4.00"))
    in_full = order(store, ("cash", "10.70"), async_account=ann)
    unpaid = order(store, async_account=ann)
    instalment = order(store, ("card", "2.00"), lines=[], async_account=ann)
    refund = order(
        store, ("cash", "-3.00"), lines=[article(is_voided=True)], async_account=ann, **NOTHING
    )
    voided = order(store, ("cash", "9.00"), entry_status="voided")
    too_much = order(store, ("cash", "99.00"), async_account=ann)
    unknown = order(store, ("cash", "4.00"), async_account=uuid4())
    make_sale(store, business_date=DAY)
    run("P-0001")
    run("sync-orders", order_number=first)

    assert run("eod")["outcome"] == "succeeded"

    account = GuidMap.objects.get(async_account=ann).customer.account_number
    default = store.channel.default_customer.account_number
    day = Statement.objects.get()
    assert day.state == "posted"
    assert tenders(day) == {
        "card": (4, Decimal("6.00"), Decimal("6.00")),
        "cash": (4, Decimal("20.40"), Decimal("9.70")),
    }
    # Only what was sold is revenue.
    assert day.totals.get().gross_amount == Decimal("10.70")
    assert prepaid_for(first) == [(account, "card", Decimal("3.00"))]
    assert prepaid_for(waits) == [(account, "cash", Decimal("2.00"))]
    assert prepaid_for(guest) == [(default, "card", Decimal("1.00"))]
    assert prepaid_for(in_full) == [(account, "cash", Decimal("10.70"))]
    assert prepaid_for(instalment) == [(account, "card", Decimal("2.00"))]
    assert prepaid_for(refund) == [(account, "cash", Decimal("-3.00"))]
    for nowhere in (unpaid, voided, too_much, unknown):
        assert prepaid_for(nowhere) == []
    assert {number: of(number).exclusion.reason for number in (voided, too_much, unknown)} == {
        voided: "voided",
        too_much: "not_paid",
        unknown: "customer_unknown",
    }
    assert broken_promises() == []

    # The orders follow, for whom they were paid; what orders nothing becomes none.
    run("sync-orders")
    made = dict(
        SalesOrder.objects.exclude(confirmation_number=None).values_list(
            "confirmation_number", "customer__account_number"
        )
    )
    assert made == {first: account, guest: default, in_full: account, unpaid: account}
    make_event("address", store, async_account=ann, address_id=home)
    run("P-0001")
    run("sync-orders")
    assert of(waits).sales_order.customer.account_number == account
    before = list(PostedPayment.objects.values_list("id", flat=True))
    assert run("eod")["outcome"] == "nothing_to_do"
    assert list(PostedPayment.objects.values_list("id", flat=True)) == before
    assert broken_promises() == []

    # What is corrected afterwards gets a supplementary statement.
    clerk = User.objects.create_user("clerk")
    lease(of(too_much), clerk)
    payment = of(too_much).payments.get()
    changes = {of(too_much): {"payment_amount": Decimal("9.00")}, payment: {"amount": Decimal("9")}}
    mend(of(too_much), clerk, "Typed wrong.", changes)
    run("eod")
    assert tenders(Statement.objects.get(sequence=2)) == {
        "cash": (1, Decimal("9.00"), Decimal("9.00"))
    }
    assert broken_promises() == []


def test_p6_an_order_whose_deposit_is_posted_can_be_corrected_but_not_what_was_paid(houston):
    ann = make_customer(houston)
    number = order(houston, ("card", "3.00"), async_account=ann, delivery_address_id=uuid4())
    assert run("eod")["counts"]["posted"] == 1
    buyer = of(number).customer
    clerk = User.objects.create_user("clerk")
    lease(of(number), clerk)

    for changes in (
        {of(number).payments.get(): {"amount": Decimal("4.00")}},
        {of(number): {"business_date": date(2026, 11, 21)}},
        {of(number): {"async_account": None}},
    ):
        with pytest.raises(MendingRefused, match="Its payments are in a statement"):
            mend(of(number), clerk, "Wrong.", changes)
    kept = mend(of(number), clerk, "Collected.", {of(number): {"delivery_address_id": None}})

    assert kept == 1
    assert (of(number).customer, of(number).validation_status) == (buyer, "successful")
    run("sync-orders")
    assert of(number).sales_order.customer == buyer
    assert broken_promises() == []


def test_p6_a_guest_s_deposit_waits_for_a_default_customer_and_the_day_says_so(houston):
    number = order(houston, ("card", "3.00"))
    channel = houston.channel
    default, channel.default_customer = channel.default_customer, None
    channel.save()

    assert run("eod")["outcome"] == "partly"
    assert Statement.objects.get().reason == "default_customer_missing"

    channel.default_customer = default
    channel.save()
    run("eod")
    assert prepaid_for(number) == [(default.account_number, "card", Decimal("3.00"))]


ROUNDED = {
    # Currency, total, payments, and as what the difference is posted: None where it is refused.
    "rounded coins": ("CZK", "35.20", [("cash", "35.00")], "rounding_difference"),
    "rounded up": ("CZK", "34.80", [("cash", "35.00")], "rounding_difference"),
    "a tie": ("CZK", "34.50", [("Cash", "35.00")], "rounding_difference"),
    "more than half a coin": ("CZK", "35.60", [("cash", "35.00")], None),
    "cash that is no coin": ("CZK", "35.20", [("cash", "34.90")], None),
    "no coins": ("CZK", "35.20", [("card", "35.00")], None),
    "card and coins": ("CZK", "35.20", [("card", "20.10"), ("cash", "15")], "rounding_difference"),
    "coins and change": ("CZK", "35.20", [("cash", "50"), ("cash", "-15")], "rounding_difference"),
    "less than a coin": ("CZK", "0.40", [("cash", "0")], "rounding_difference"),
    "a tolerance of its own": ("EUR", "10.03", [("voucher", "10.00")], "payment_difference"),
    "more than its tolerance": ("EUR", "10.06", [("voucher", "10.00")], None),
    "no tolerance of others": ("EUR", "10.03", [("cash", "10.00")], None),
    "the company's in dollars": ("USD", "10.50", [("card", "10.00")], "payment_difference"),
    "paid too much": ("USD", "9.50", [("card", "10.00")], "payment_difference"),
    "the company's in dinars": ("KWD", "10.000", [("card", "9.950")], "payment_difference"),
    "half a dinar": ("KWD", "10.000", [("card", "9.500")], None),
    "the company's in yen": ("JPY", "1000", [("card", "950")], "payment_difference"),
    "money back in coins": ("CZK", "-35.20", [("cash", "-35.00")], "rounding_difference"),
}  # fmt: skip


def test_p42_differences_are_allowed_by_currency_and_tender_and_posted_by_name(houston, subtests):
    Company.objects.update(payment_tolerance="0.50")
    mine = {"company": houston.channel.company}
    PaymentRounding.objects.create(currency="CZK", tender_type="cash", rounding_unit=1, **mine)
    PaymentRounding.objects.create(currency="CZK", **mine)
    PaymentRounding.objects.create(currency="EUR", tender_type="Voucher", tolerance="0.05", **mine)
    PaymentRounding.objects.create(currency="EUR", **mine)
    written = {}
    for what, (currency, total, paid, _) in ROUNDED.items():
        # Each customer has one order a currency: so every difference is one of its own.
        is_back = total.startswith("-")
        line = article(total.lstrip("-"), tax_amount="0", net_amount=total)
        written[what] = make_sale(
            houston,
            lines=[line | {"quantity": "-1" if is_back else "1"}],
            payments=[{"tender_type": t, "amount": a, "currency": currency} for t, a in paid],
            payment_amount=str(sum(Decimal(amount) for _, amount in paid)),
            currency=currency,
            transaction_type="return" if is_back else "sale",
            async_account=make_customer(houston, what),
        )

    run("eod")

    for what, (_, total, paid, kind) in ROUNDED.items():
        with subtests.test(what):
            sale = RetailTransaction.objects.get(transaction_id=written[what])
            posted = PostedPayment.objects.filter(sales_order=sale.sales_order_id or 0)
            differences = dict(posted.exclude(kind="payment").values_list("kind", "amount"))
            if kind is None:
                assert [error.rule for error in sale.errors.all()] == ["not_paid"]
            else:
                difference = Decimal(total) - sum(Decimal(amount) for _, amount in paid)
                assert differences == {kind: difference}
                assert sum(row.amount for row in posted) == sale.sales_order.gross_amount
    assert broken_promises() == []
