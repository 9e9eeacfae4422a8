"""The sales, orders and returns that name a customer, newest first."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db.models import F, Q

from stores.models import Company, Customer, RetailTransaction, SalesOrder
from stores.models.statement import StatementState
from stores.models.transaction import NOT_ORDERED, OrderStatus, ValidationStatus

# A trace is read by a person; the list of transactions has the rest.
MAX_DOCUMENTS = 50


def documents_of(customer: Customer | None, guids: Iterable[UUID]) -> list[dict[str, Any]]:
    """What tills sold to the customer, under the account or a GUID, as the contract shows it."""
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
    """Ids of customers and GUIDs named by documents of this number, be it a till's or HQ's own."""
    sales = RetailTransaction.objects.filter(
        Q(transaction_id=ref) | Q(receipt_number=ref) | Q(confirmation_number=ref)
    )
    named = list(sales.values_list("customer_id", "async_account")[:MAX_DOCUMENTS])
    customers = {customer for customer, _ in named if customer} | customers_of_orders(ref)
    return customers, {guid for customer, guid in named if guid and not customer}


def customers_of_orders(ref: str) -> set[int]:
    """Ids of customers with a sales order or an invoice of this number; not default customers."""
    orders = SalesOrder.objects.filter(company__in=Company.objects.all()).exclude(
        customer=F("channel__default_customer")
    )
    # Apart, so that each is found by its own index.
    return {
        customer
        for numbered in (orders.filter(number=ref), orders.filter(invoice_number=ref))
        for customer in numbered.values_list("customer", flat=True)
    }
