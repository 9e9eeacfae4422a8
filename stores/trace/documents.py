"""The sales, orders and returns of a customer."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db.models import F, Q

from stores.models import Customer, RetailTransaction, SalesOrder
from stores.models.statement import StatementState
from stores.models.transaction import NOT_ORDERED, OrderStatus, ValidationStatus

# How many a trace shows. The list of transactions has all.
MAX_DOCUMENTS = 50


def documents_of(customer: Customer | None, guids: Iterable[UUID]) -> list[dict[str, Any]]:
    """The newest documents of the account or one of the GUIDs, as the trace shows them."""
    condition = Q(async_account__in=list(guids))
    if customer:
        condition |= Q(customer=customer)
    sales = RetailTransaction.objects.filter(condition).newest_first()
    return [
        {
            "kind": sale.transaction_type,
            "id": sale.transaction_id,
            "channel": sale.channel.code,
            "state": document_state(sale),
        }
        for sale in sales.select_related("channel", "prepayment_statement")[:MAX_DOCUMENTS]
    ]


def document_state(sale: RetailTransaction) -> str:
    """One word for the progress of a sale or an order."""
    if sale.entry_status == "voided":
        return "voided"
    prepaid_in = sale.prepayment_statement if sale.gross_amount == 0 else None
    if sale.sales_order_id or (prepaid_in and prepaid_in.state == StatementState.POSTED):
        return "posted"
    if sale.order_status != OrderStatus.NONE:
        return str(sale.order_status)
    if sale.order_reason and sale.order_reason != NOT_ORDERED:
        return "waiting"
    if sale.validation_status == ValidationStatus.NONE:
        return "not_validated"
    return "in_statement" if sale.statement_id else str(sale.validation_status)


def customers_in_documents(ref: str) -> tuple[set[int], set[UUID]]:
    """Find customers by the number of a document. Returns their ids, and GUIDs without an account.

    The number is one of the till (transaction, receipt, confirmation), or of a sales order.
    """
    sales = RetailTransaction.objects.filter(
        Q(transaction_id=ref) | Q(receipt_number=ref) | Q(confirmation_number=ref)
    )
    pairs = list(sales.values_list("customer_id", "async_account")[:MAX_DOCUMENTS])
    customers = {customer for customer, _ in pairs if customer} | customers_of_orders(ref)
    guids = {guid for customer, guid in pairs if guid and not customer}
    return customers, guids


def customers_of_orders(ref: str) -> set[int]:
    """Ids of customers with a sales order or invoice of this number, except default customers."""
    orders = SalesOrder.objects.numbered(ref).exclude(customer=F("channel__default_customer"))
    return set(orders.values_list("customer", flat=True))
