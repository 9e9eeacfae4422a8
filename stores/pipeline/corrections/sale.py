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
from stores.pipeline.corrections.revalidate import revalidate
from stores.pipeline.events.document_tables import HEADER_AMOUNTS
from stores.pipeline.sales.refused import REFUSAL_REASONS

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


class CorrectionRefused(Exception):
    """The transaction cannot be corrected now; the message says why."""


def correctable_by(user: Any) -> Q:
    """Transactions that the user may correct: in no order or statement, leased to nobody else."""
    free = ~being_corrected() | Q(editing_by=user)
    return free & Q(sales_order__isnull=True, statement__isnull=True)


def lease_transaction(sale: RetailTransaction, user: Any) -> None:
    """Keep jobs and other people away from the transaction for a quarter of an hour.

    Effects: the lease and, of a customer order, status Editing. Errors: CorrectionRefused.
    """
    leasable = RetailTransaction.objects.filter(correctable_by(user), pk=sale.pk)
    status = (
        OrderStatus.EDITING
        if sale.transaction_type == TransactionType.CUSTOMER_ORDER
        else sale.order_status
    )
    if not leasable.update(editing_by=user, editing_until=Now() + LEASE, order_status=status):
        raise CorrectionRefused(correction_obstacle(sale))


def correction_obstacle(sale: RetailTransaction) -> str:
    sale.refresh_from_db()
    if sale.statement and sale.statement.is_open:
        return f"It is in {sale.statement}, which is not posted yet: cancel that statement first."
    if sale.sales_order_id is not None:
        return "It is already posted."
    return "Someone else is correcting it."


def release_lease(sale: RetailTransaction, user: Any) -> None:
    """Give the transaction back to the jobs, which try it again.

    Also one that the database had refused: whatever refused it may be mended.
    """
    with transaction.atomic():
        leased = RetailTransaction.objects.select_for_update().filter(pk=sale.pk, editing_by=user)
        if leased.exists():
            clear_refusals([sale.pk])
            end_leases(leased)


def clear_refusals(sales: Sequence[int]) -> int:
    """Have the jobs try sales again that the database had refused. Returns how many there were.

    Effects: their errors and status, in the caller's transaction, which holds the sales.
    """
    refused = TransactionError.objects.filter(transaction__in=sales, rule__in=REFUSAL_REASONS)
    sale_ids = set(refused.values_list("transaction", flat=True))
    refused.delete()
    RetailTransaction.objects.filter(pk__in=sale_ids).update(
        validation_status=ValidationStatus.NONE, validated_at=None
    )
    return len(sale_ids)


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


def correct_transaction(
    sale: RetailTransaction,
    user: Any,
    reason: str,
    changes: Mapping[models.Model, Mapping[str, Any]],
) -> int:
    """Write corrected values into a leased transaction, its lines and payments, and let it go.

    Shape: `changes` maps the transaction, or one of its lines or payments, to its new values.
    Effects: the rows, one kept change for each value, validation anew. Returns how many values
    changed. Errors: CorrectionRefused when the lease is over.
    """
    with transaction.atomic():
        leased = RetailTransaction.objects.select_for_update().filter(
            being_corrected(), pk=sale.pk, editing_by=user
        )
        if not leased.exists():
            raise CorrectionRefused("The time to correct it has run out. Open it again.")
        refuse_prepaid(leased.get(), changes)
        changes_made = [
            change
            for row, values in changes.items()
            for change in write_row(sale, row, values, user, reason)
        ]
        TransactionChange.objects.bulk_create(changes_made)
        if changes_made:
            revalidate([sale.pk])
        release_lease(sale, user)
    return len(changes_made)


def validation_message(sale: RetailTransaction) -> str:
    """What the rules say of a transaction now that it was corrected."""
    sale.refresh_from_db()
    return {
        ValidationStatus.SUCCESSFUL: "It now passes all rules.",
        ValidationStatus.ERROR: "It still breaks a rule.",
    }.get(ValidationStatus(sale.validation_status), "The next run tries again.")


def refuse_prepaid(
    sale: RetailTransaction, changes: Mapping[models.Model, Mapping[str, Any]]
) -> None:
    """Keep what a statement says of an order's payments. Errors: CorrectionRefused."""
    changed = (
        isinstance(row, RetailTransactionPayment) or name in PREPAID_FIELDS
        for row, values in changes.items()
        for name, new in values.items()
        if getattr(row, name) != new
    )
    if sale.prepayment_statement_id and any(changed):
        raise CorrectionRefused(
            "Its payments are in a statement: customer, business date, currency and payments"
            " cannot change."
        )


def write_row(
    sale: RetailTransaction, row: models.Model, values: Mapping[str, Any], user: Any, reason: str
) -> list[TransactionChange]:
    """Write the values of one row that differ. Returns what is to be kept of it."""
    changed = {name: new for name, new in values.items() if getattr(row, name) != new}
    changes = [
        TransactionChange(
            transaction=sale,
            line_number=getattr(row, "line_number", None),
            field=name,
            old=text_or_none(getattr(row, name)),
            new=text_or_none(new),
            reason=reason,
            changed_by=user,
        )
        for name, new in changed.items()
    ]
    if changed:
        type(row)._default_manager.filter(pk=row.pk).update(**changed)
    return changes


def text_or_none(value: Any) -> str | None:
    return None if value is None else str(value)
