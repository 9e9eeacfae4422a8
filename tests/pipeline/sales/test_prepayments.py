"""Payments for customer orders are posted on the day on which the till took them, and once.

From conftest.py: `houston` is a store on PostgreSQL; `popup` is one on SQLite.
"""

from datetime import date
from decimal import Decimal
from uuid import uuid4

import pytest

from stores.models import (
    GuidMap,
    PostedPayment,
    RetailTransaction,
    SalesOrder,
    Statement,
)
from stores.models.job import JobCode
from stores.pipeline.corrections.sale import (
    CorrectionRefused,
    correct_transaction,
    lease_transaction,
)
from tests.support.make import article, make_customer, make_event, make_sale, run
from tests.support.promises import broken_promises

pytestmark = [pytest.mark.slow, pytest.mark.finding(id="P6")]

DAY = date(2026, 11, 20)
HOME = uuid4()
NO_AMOUNTS = {"net_amount": "0", "tax_amount": "0", "gross_amount": "0"}


def make_order(database, number, *payments, **columns):
    """A customer order of 10.70 with a confirmation number and pairs of tender and amount."""
    make_sale(
        database,
        transaction_type="customer_order",
        confirmation_number=number,
        business_date=DAY,
        payments=[
            {"tender_type": tender_type, "amount": amount, "currency": "USD"}
            for tender_type, amount in payments
        ],
        payment_amount=str(sum(Decimal(amount) for _, amount in payments)),
        **columns,
    )


def get_order(number):
    return RetailTransaction.objects.get(confirmation_number=number)


def posted_prepayments():
    """Order, account, tender and amount of every payment that was posted for an order."""
    payments = PostedPayment.objects.filter(transaction__transaction_type="customer_order")
    assert not payments.exclude(kind="prepayment").exists()
    return set(
        payments.values_list(
            "transaction__confirmation_number", "customer__account_number", "tender_type", "amount"
        )
    )


def tenders_of(statement):
    """Count, amount and prepaid amount by tender."""
    return {
        tender.tender_type: (tender.count, tender.amount, tender.prepaid_amount)
        for tender in statement.tenders.all()
    }


@pytest.fixture
def ann(popup):
    return make_customer(popup)


@pytest.fixture
def posted_day(popup, ann):
    """The statement of a day with one sale and orders that were paid in every way."""
    make_order(popup, "deposit", ("card", "3.00"), async_account=ann)
    make_order(popup, "to-home", ("cash", "2.00"), async_account=ann, delivery_address_id=HOME)
    make_order(popup, "guest", ("card", "5.00"), ("card", "-4.00"))
    make_order(popup, "in-full", ("cash", "10.70"), async_account=ann)
    make_order(popup, "unpaid", async_account=ann)
    make_order(popup, "instalment", ("card", "2.00"), lines=[], async_account=ann)
    voided_line = article(is_voided=True)
    make_order(
        popup, "refund", ("cash", "-3.00"), lines=[voided_line], async_account=ann, **NO_AMOUNTS
    )
    make_order(popup, "voided", ("cash", "9.00"), entry_status="voided")
    make_order(popup, "overpaid", ("cash", "99.00"), async_account=ann)
    make_order(popup, "unknown", ("cash", "4.00"), async_account=uuid4())
    make_sale(popup, business_date=DAY)
    run(JobCode.UPLOAD)
    # One order is synchronized before its deposit is posted, all others afterwards.
    run(JobCode.ORDERS, order_number="deposit")
    assert run(JobCode.END_OF_DAY)["outcome"] == "succeeded"
    return Statement.objects.get()


def account_of(guid):
    return GuidMap.objects.get(async_account=guid).customer.account_number


def test_payments_of_orders_are_posted_on_their_day(popup, ann, posted_day):
    account = account_of(ann)
    default_account = popup.channel.default_customer.account_number

    assert posted_day.state == "posted"
    assert tenders_of(posted_day) == {
        "card": (4, Decimal("6.00"), Decimal("6.00")),
        "cash": (4, Decimal("20.40"), Decimal("9.70")),
    }
    # Only the sale is revenue.
    assert posted_day.totals.get().gross_amount == Decimal("10.70")
    assert posted_prepayments() == {
        ("deposit", account, "card", Decimal("3.00")),
        ("to-home", account, "cash", Decimal("2.00")),
        ("guest", default_account, "card", Decimal("1.00")),
        ("in-full", account, "cash", Decimal("10.70")),
        ("instalment", account, "card", Decimal("2.00")),
        ("refund", account, "cash", Decimal("-3.00")),
    }
    assert get_order("voided").exclusion.reason == "voided"
    assert get_order("overpaid").exclusion.reason == "not_paid"
    assert get_order("unknown").exclusion.reason == "customer_unknown"
    assert broken_promises() == []


def test_an_order_s_customer_is_who_paid_the_deposit(popup, ann, posted_day):
    account = account_of(ann)

    run(JobCode.ORDERS)

    # An instalment and a refund order nothing.
    orders = SalesOrder.objects.exclude(confirmation_number=None)
    assert dict(orders.values_list("confirmation_number", "customer__account_number")) == {
        "deposit": account,
        "guest": popup.channel.default_customer.account_number,
        "in-full": account,
        "unpaid": account,
    }

    make_event("address", popup, async_account=ann, address_id=HOME)
    run(JobCode.UPLOAD)
    run(JobCode.ORDERS)
    assert get_order("to-home").sales_order.customer.account_number == account
    assert broken_promises() == []


def test_a_payment_is_not_posted_again_with_its_order(popup, posted_day):
    before = list(PostedPayment.objects.values_list("id", flat=True))
    run(JobCode.ORDERS)

    assert run(JobCode.END_OF_DAY)["outcome"] == "nothing_to_do"

    assert list(PostedPayment.objects.values_list("id", flat=True)) == before
    assert broken_promises() == []


def test_a_corrected_order_is_posted_by_a_supplementary_statement(popup, hq_user, posted_day):
    order = get_order("overpaid")
    lease_transaction(order, hq_user)
    changes = {order: {"payment_amount": Decimal(9)}, order.payments.get(): {"amount": Decimal(9)}}
    correct_transaction(order, hq_user, "Typed wrong.", changes)

    run(JobCode.END_OF_DAY)

    assert tenders_of(Statement.objects.get(sequence=2)) == {
        "cash": (1, Decimal("9.00"), Decimal("9.00"))
    }
    assert broken_promises() == []


@pytest.fixture
def leased_order(houston, hq_user) -> RetailTransaction:
    """An order whose deposit is posted, under correction by the hq_user."""
    customer = make_customer(houston)
    make_order(
        houston, "deposit", ("card", "3.00"), async_account=customer, delivery_address_id=HOME
    )
    assert run(JobCode.END_OF_DAY)["counts"]["posted"] == 1
    lease_transaction(get_order("deposit"), hq_user)
    return get_order("deposit")


def test_posted_payments_of_an_order_cannot_be_corrected(hq_user, leased_order):
    for changes in (
        {leased_order.payments.get(): {"amount": Decimal("4.00")}},
        {leased_order: {"business_date": date(2026, 11, 21)}},
        {leased_order: {"async_account": None}},
    ):
        with pytest.raises(CorrectionRefused, match="Its payments are in a statement"):
            correct_transaction(get_order("deposit"), hq_user, "Wrong.", changes)


def test_an_order_with_a_posted_deposit_can_be_corrected_otherwise(hq_user, leased_order):
    customer = leased_order.customer

    changes = {leased_order: {"delivery_address_id": None}}
    corrected = correct_transaction(get_order("deposit"), hq_user, "Collected.", changes)

    assert corrected == 1
    order = get_order("deposit")
    assert (order.customer, order.validation_status) == (customer, "successful")
    run(JobCode.ORDERS)
    assert get_order("deposit").sales_order.customer == customer
    assert broken_promises() == []


def test_the_deposit_of_a_guest_waits_for_a_default_customer(houston):
    make_order(houston, "guest", ("card", "3.00"))
    channel = houston.channel
    default_customer = channel.default_customer
    channel.default_customer = None
    channel.save()

    assert run(JobCode.END_OF_DAY)["outcome"] == "partly"
    assert Statement.objects.get().reason == "default_customer_missing"

    channel.default_customer = default_customer
    channel.save()
    run(JobCode.END_OF_DAY)
    assert posted_prepayments() == {
        ("guest", default_customer.account_number, "card", Decimal("3.00"))
    }
