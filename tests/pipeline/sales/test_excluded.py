"""Which sales are in no posted statement, with what amount and for what reason.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001).
"""

from datetime import date
from decimal import Decimal

import pytest

from stores.models import ChannelDatabase, ExcludedSale, RetailTransaction
from stores.models.job import JobCode
from tests.support.make import make_sale, run
from tests.support.orders import make_order

pytestmark = pytest.mark.slow

DAY = date(2026, 11, 20)


def take(store: ChannelDatabase, number: str, **columns: str | int) -> None:
    """Let the till take a sale of 10.70."""
    make_sale(store, transaction_id=number, business_date=DAY, **columns)


def take_order(store: ChannelDatabase, number: str, *paid: str, **columns: str) -> None:
    """Let the till take a customer order with these payments."""
    payments = [{"tender_type": "cash", "amount": amount, "currency": "USD"} for amount in paid]
    make_order(
        store,
        number,
        transaction_id=number,
        business_date=DAY,
        payment_amount=str(sum(map(Decimal, paid))),
        payments=payments,
        **columns,
    )


def excluded() -> list[tuple[str, str, str, str]]:
    """Number, amount, reason and field of every excluded sale, in the order of the numbers."""
    return [
        (sale.transaction.transaction_id, str(sale.gross_amount), sale.reason, sale.field)
        for sale in ExcludedSale.objects.order_by("transaction__transaction_id")
    ]


def test_an_excluded_sale_is_listed_once_with_its_reason(houston):
    take(houston, "sale")
    take(houston, "sale-voided", entry_status="voided")
    take(houston, "sale-wrong", line_count=0)
    take_order(houston, "order-prepaid", "2.00", "1.00")
    take_order(houston, "order-unpaid")
    take_order(houston, "order-unpaid-voided", entry_status="voided")
    take_order(houston, "order-voided", "9.00", entry_status="voided")
    take_order(houston, "order-zero-sum", "5.00", "-5.00")
    take_order(houston, "order-zero-sum-voided", "5.00", "-5.00", entry_status="voided")
    for job in (JobCode.UPLOAD, JobCode.VALIDATE, JobCode.CALCULATE):
        run(job)
    take(houston, "sale-late")
    take_order(houston, "order-late", "4.00")
    run(JobCode.UPLOAD)

    assert excluded() == [
        ("order-late", "4.0000", "not_validated", ""),
        ("order-prepaid", "3.0000", "statement_open", ""),
        ("order-voided", "9.0000", "voided", ""),
        ("order-zero-sum", "0.0000", "nothing_paid", "payment_amount"),
        ("order-zero-sum-voided", "0.0000", "voided", ""),
        ("sale", "10.7000", "statement_open", ""),
        ("sale-late", "10.7000", "not_validated", ""),
        ("sale-voided", "10.7000", "voided", ""),
        ("sale-wrong", "10.7000", "line_count_differs", "line_count"),
    ]


def test_what_is_ready_is_excluded_until_its_statement_is_posted(houston):
    take(houston, "sale")
    take_order(houston, "order-prepaid", "3.00")
    for job in (JobCode.UPLOAD, JobCode.VALIDATE):
        run(job)
    ready = excluded()

    run(JobCode.END_OF_DAY)

    assert ready == [
        ("order-prepaid", "3.0000", "not_calculated", ""),
        ("sale", "10.7000", "not_calculated", ""),
    ]
    assert RetailTransaction.objects.count() == 2
    assert excluded() == []
