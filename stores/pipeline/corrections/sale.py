"""Correct one transaction by hand.

A person first takes a lease on the transaction, which keeps jobs and other people away from it for
some minutes. Each changed value is recorded with its old value, the person and the reason. Then the
transaction is validated again, and an order that is made of it goes on hold.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import models, transaction
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Now

from stores.models import (
    RetailTransaction,
    RetailTransactionLine,
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

# What a person may change. Identifiers and line numbers never change.
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
CORRECTABLE_FIELDS: dict[type[models.Model], tuple[str, ...]] = {
    RetailTransaction: HEADER_FIELDS,
    RetailTransactionLine: LINE_FIELDS,
    RetailTransactionPayment: PAYMENT_FIELDS,
}
# The header fields that, like all payments, cannot change once a statement has the prepayments.
PREPAID_FIELDS = ("async_account", "account_number", "business_date", "currency", "payment_amount")


def changes_prepayment(part: str, fields: Iterable[str]) -> bool:
    """Return whether these fields of a header, line or payment cannot change then."""
    return part == "payment" or (part == "header" and bool(set(fields) & set(PREPAID_FIELDS)))


# The new values of a transaction, of its lines and of its payments.
Changes = Mapping[models.Model, Mapping[str, Any]]


class CorrectionRefused(Exception):
    """The transaction cannot be corrected now. The message says why."""


def correctable_by(user: Any) -> Q:
    """Return the condition that a transaction is in no statement and no order, and not leased.

    A lease of the user's own does not count.
    """
    is_free = ~being_corrected() | Q(editing_by=user)
    return is_free & Q(sales_order__isnull=True, statement__isnull=True)


def lease_transaction(sale: RetailTransaction, user: Any) -> None:
    """Take a lease on the transaction for the user. Raise CorrectionRefused if that is impossible.

    A customer order gets the status Editing.
    """
    correctable = RetailTransaction.objects.filter(correctable_by(user), pk=sale.pk)
    is_leased = correctable.update(
        editing_by=user,
        editing_until=Now() + LEASE,
        order_status=Case(
            When(transaction_type=TransactionType.CUSTOMER_ORDER, then=Value(OrderStatus.EDITING)),
            default=F("order_status"),
        ),
    )
    if not is_leased:
        raise CorrectionRefused(refusal_message(sale.pk))


def refusal_message(pk: int) -> str:
    """Return the sentence that says why a transaction cannot be leased."""
    sale = RetailTransaction.objects.select_related("statement__channel").get(pk=pk)
    if sale.statement and sale.statement.is_open:
        return f"It is in {sale.statement}, which is not posted yet: cancel that statement first."
    if sale.sales_order_id is not None or sale.statement_id is not None:
        return "It is already posted."
    return "Someone else is correcting it."


def release_lease(sale: RetailTransaction, user: Any) -> None:
    """Give a transaction back to the jobs, if the user has a lease on it."""
    with transaction.atomic():
        leased = RetailTransaction.objects.select_for_update().filter(pk=sale.pk, editing_by=user)
        return_to_jobs(list(leased.values_list("pk", flat=True)))


def return_to_jobs(sales: Sequence[int]) -> None:
    """End the leases of transactions, which the caller has locked. The next run tries each again.

    A transaction that the database had refused is tried again too, because the cause may be gone.
    """
    clear_refusals(sales)
    end_leases(RetailTransaction.objects.filter(pk__in=sales))


def clear_refusals(sales: Sequence[int]) -> int:
    """Delete the errors of transactions that the database had refused. Return how many these are.

    The caller has locked the transactions. Their validation status becomes None.
    """
    refusals = TransactionError.objects.filter(transaction__in=sales, rule__in=REFUSAL_REASONS)
    refused_sales = set(refusals.values_list("transaction", flat=True))
    refusals.delete()
    RetailTransaction.objects.filter(pk__in=refused_sales).update(
        validation_status=ValidationStatus.NONE, validated_at=None
    )
    return len(refused_sales)


def end_leases(sales: models.QuerySet[RetailTransaction]) -> None:
    """End the leases of transactions. The order status Editing becomes None."""
    sales.update(
        editing_by=None,
        editing_until=None,
        order_status=Case(
            When(order_status=OrderStatus.EDITING, then=Value(OrderStatus.NONE)),
            default=F("order_status"),
        ),
    )


def correct_transaction(sale: RetailTransaction, user: Any, reason: str, changes: Changes) -> int:
    """Write corrected values into a leased transaction, then give it back to the jobs.

    Return how many values changed. Raise CorrectionRefused if the lease has ended, or if a
    statement has the prepayments that would change.
    """
    with transaction.atomic():
        rows = RetailTransaction.objects.select_for_update()
        locked = rows.filter(being_corrected(), pk=sale.pk, editing_by=user).first()
        if locked is None:
            raise CorrectionRefused("The time to correct it has run out. Open it again.")
        changed = changed_values(locked, changes)
        refuse_change_of_prepayment(locked, changed)
        for row, values in changed.items():
            record_changes(locked, row, values, user, reason)
            type(row)._default_manager.filter(pk=row.pk).update(**values)
        if changed:
            revalidate([locked.pk])
        return_to_jobs([locked.pk])
    return sum(len(values) for values in changed.values())


def changed_values(sale: RetailTransaction, changes: Changes) -> dict[models.Model, dict[str, Any]]:
    """Return the new values that differ from those in the database, by the present row."""
    current_rows = {row: row for row in (sale, *sale.lines.all(), *sale.payments.all())}
    changed: dict[models.Model, dict[str, Any]] = {}
    for row, values in changes.items():
        current = current_rows[row]
        if forbidden := values.keys() - CORRECTABLE_FIELDS[type(current)]:
            raise ValueError(f"{type(current).__name__}: {sorted(forbidden)} cannot be corrected")
        differing = {name: new for name, new in values.items() if getattr(current, name) != new}
        if differing:
            changed[current] = differing
    return changed


def refuse_change_of_prepayment(
    sale: RetailTransaction, changed: Mapping[models.Model, Mapping[str, Any]]
) -> None:
    """Raise CorrectionRefused if prepayments would change that a statement already has."""
    if sale.prepayment_statement_id is None:
        return
    for row, values in changed.items():
        if isinstance(row, RetailTransactionPayment) or set(values) & set(PREPAID_FIELDS):
            raise CorrectionRefused(
                "Its payments are in a statement: customer, business date, currency and payments"
                " cannot change."
            )


def record_changes(
    sale: RetailTransaction, row: models.Model, values: Mapping[str, Any], user: Any, reason: str
) -> None:
    """Insert the change of each value of a row."""
    TransactionChange.objects.bulk_create(
        TransactionChange(
            transaction=sale,
            line_number=getattr(row, "line_number", None),
            field=name,
            old=text_or_none(getattr(row, name)),
            new=text_or_none(new),
            reason=reason,
            changed_by=user,
        )
        for name, new in values.items()
    )


def text_or_none(value: Any) -> str | None:
    return None if value is None else str(value)


def validation_message(sale: RetailTransaction) -> str:
    """Return a sentence about the result of the new validation."""
    statuses = RetailTransaction.objects.values_list("validation_status", flat=True)
    status = statuses.get(pk=sale.pk)
    if status == ValidationStatus.SUCCESSFUL:
        return "It now passes all rules."
    if status == ValidationStatus.ERROR:
        return "It still breaks a rule."
    return "The next run tries again."
