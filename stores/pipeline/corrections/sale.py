"""Correct one transaction by hand: under a lease, with both values, who and why.

While a person holds the lease no job touches the transaction. What is corrected is validated again,
and an order that comes of it goes on hold. Source: domain 2.10, features E.6 and E.12.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from django.db import models, transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from stores.models import (
    RetailTransaction,
    RetailTransactionPayment,
    TransactionChange,
    TransactionError,
)
from stores.models.transaction import (
    LEASE,
    OrderStatus,
    TransactionType,
    ValidationStatus,
    being_corrected,
)
from stores.pipeline.corrections.revalidate import judge_again
from stores.pipeline.events.document_tables import HEADER_AMOUNTS
from stores.pipeline.sales.refused import REFUSED

# What a person may change; identity, lines' numbers and what the till signed for stay.
HEADER_FIELDS = (
    "transaction_type",
    "async_account",
    "account_number",
    "business_date",
    "currency",
    *HEADER_AMOUNTS,
    "delivery_address_id",
    "delivery_mode",
)
LINE_FIELDS = ("item_id", "quantity", "price", "discount_amount", "tax_amount", "net_amount")
PAYMENT_FIELDS = ("tender_type", "amount", "currency")
# What stays, with all payments, of an order whose payments a statement holds.
PREPAID_FIELDS = ("async_account", "account_number", "business_date", "currency", "payment_amount")


class MendingRefused(Exception):
    """The transaction cannot be corrected now; the message says why."""


def open_for(user: Any) -> Q:
    """Transactions that the user may correct: in no order or statement, leased to nobody else."""
    free = ~being_corrected() | Q(editing_by=user)
    return free & Q(sales_order__isnull=True, statement__isnull=True)


def lease(sale: RetailTransaction, user: Any) -> None:
    """Keep jobs and other people away from the transaction for a quarter of an hour.

    Effects: the lease and, of a customer order, status Editing. Errors: MendingRefused.
    """
    mine = RetailTransaction.objects.filter(open_for(user), pk=sale.pk)
    status = (
        OrderStatus.EDITING
        if sale.transaction_type == TransactionType.CUSTOMER_ORDER
        else sale.order_status
    )
    if not mine.update(editing_by=user, editing_until=Now() + LEASE, order_status=status):
        raise MendingRefused(why_not(sale))


def why_not(sale: RetailTransaction) -> str:
    """Why a transaction cannot be corrected now."""
    sale.refresh_from_db()
    if sale.statement and sale.statement.is_open:
        return f"It is in {sale.statement}, which is not posted yet: cancel that statement first."
    if sale.sales_order_id is not None:
        return "It is already posted."
    return "Someone else is correcting it."


def let_go(sale: RetailTransaction, user: Any) -> None:
    """Give the transaction back to the jobs, which try it again.

    Also one that the database had refused: whatever refused it may be mended.
    """
    with transaction.atomic():
        mine = RetailTransaction.objects.select_for_update().filter(pk=sale.pk, editing_by=user)
        if mine.exists():
            forget_refusals([sale.pk])
            end_leases(mine)


def forget_refusals(sales: Sequence[int]) -> int:
    """Have the jobs try sales again that the database had refused. Returns how many there were.

    Effects: their errors and status, in the caller's transaction, which holds the sales.
    """
    refused = TransactionError.objects.filter(transaction__in=sales, rule__in=REFUSED)
    found = set(refused.values_list("transaction", flat=True))
    refused.delete()
    RetailTransaction.objects.filter(pk__in=found).update(
        validation_status=ValidationStatus.NONE, validated_at=None
    )
    return len(found)


def end_leases(sales: models.QuerySet[RetailTransaction]) -> None:
    """Take the leases off transactions; what was being edited is nothing special any more."""
    sales.update(
        editing_by=None,
        editing_until=None,
        order_status=models.Case(
            models.When(order_status=OrderStatus.EDITING, then=models.Value(OrderStatus.NONE)),
            default=F("order_status"),
        ),
    )


def mend(
    sale: RetailTransaction,
    user: Any,
    reason: str,
    changes: Mapping[models.Model, Mapping[str, Any]],
) -> int:
    """Write corrected values into a leased transaction, its lines and payments, and let it go.

    Shape: `changes` maps the transaction, or one of its lines or payments, to its new values.
    Effects: the rows, one kept change for each value, validation anew. Returns how many values
    changed. Errors: MendingRefused when the lease is over.
    """
    with transaction.atomic():
        held = RetailTransaction.objects.select_for_update().filter(
            being_corrected(), pk=sale.pk, editing_by=user
        )
        if not held.exists():
            raise MendingRefused("The time to correct it has run out. Open it again.")
        refuse_prepaid(held.get(), changes)
        kept = [
            change
            for row, values in changes.items()
            for change in written(sale, row, values, user, reason)
        ]
        TransactionChange.objects.bulk_create(kept)
        if kept:
            judge_again([sale.pk])
        let_go(sale, user)
    return len(kept)


def outcome(sale: RetailTransaction) -> str:
    """What the rules say of a transaction now that it was corrected."""
    sale.refresh_from_db()
    return {
        ValidationStatus.SUCCESSFUL: "It now passes all rules.",
        ValidationStatus.ERROR: "It still breaks a rule.",
    }.get(ValidationStatus(sale.validation_status), "The next run tries again.")


def refuse_prepaid(
    sale: RetailTransaction, changes: Mapping[models.Model, Mapping[str, Any]]
) -> None:
    """Keep what a statement says of an order's payments. Errors: MendingRefused."""
    changed = (
        isinstance(row, RetailTransactionPayment) or name in PREPAID_FIELDS
        for row, values in changes.items()
        for name, new in values.items()
        if getattr(row, name) != new
    )
    if sale.prepayment_statement_id and any(changed):
        raise MendingRefused(
            "Its payments are in a statement: customer, business date, currency and payments"
            " cannot change."
        )


def written(
    sale: RetailTransaction, row: models.Model, values: Mapping[str, Any], user: Any, reason: str
) -> list[TransactionChange]:
    """Write the values of one row that differ. Returns what is to be kept of it."""
    changed = {name: new for name, new in values.items() if getattr(row, name) != new}
    kept = [
        TransactionChange(
            transaction=sale,
            line_number=getattr(row, "line_number", None),
            field=name,
            old=as_text(getattr(row, name)),
            new=as_text(new),
            reason=reason,
            changed_by=user,
        )
        for name, new in changed.items()
    ]
    if changed:
        type(row)._default_manager.filter(pk=row.pk).update(**changed)
    return kept


def as_text(value: Any) -> str | None:
    return None if value is None else str(value)
