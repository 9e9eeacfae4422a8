"""Customer orders of tills: write them, and read what became of them at headquarters."""

from typing import Any

from stores.models import ChannelDatabase, RetailTransaction
from tests.support.make import make_sale


def make_order(database: ChannelDatabase, number: str, **columns: Any) -> None:
    """Write a customer order with this confirmation number, by default of a guest and unpaid."""
    make_sale(
        database,
        **{
            "transaction_type": "customer_order",
            "confirmation_number": number,
            "payment_amount": "0",
            "payments": [],
        }
        | columns,
    )


def get_order(number: str) -> RetailTransaction:
    """The customer order with this confirmation number, as headquarters has it."""
    return RetailTransaction.objects.get(confirmation_number=number)


def status_and_reason(number: str) -> tuple[str, str | None]:
    """The status of an order, and the reason for it."""
    order = get_order(number)
    return order.order_status, order.order_reason
