"""Undo a bulk correction wherever the corrected values are still there."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db import models, transaction

from stores.models import RetailTransaction, TransactionChange
from stores.pipeline.corrections.bulk import (
    BATCH_SIZE,
    ChangeNote,
    lock_correctable,
    replace_values,
)
from stores.pipeline.corrections.revalidate import revalidate
from stores.pipeline.corrections.sale import PAYMENT_FIELDS, changes_prepayment, end_leases

# The values before the correction, and those that it wrote.
OLD_VALUES = """
    SELECT transaction_id AS sale, line_number, old AS new, new AS written
      FROM transaction_change
     WHERE correction = %(undone)s AND field = %(field)s AND transaction_id = ANY(%(locked)s)"""


def undo_bulk_correction(correction: UUID, user: Any, reason: str) -> tuple[int, int]:
    """Write the old values back, unless a value was changed since, or its transaction is posted.

    The same holds for an order whose prepayments are in a statement by now, if the correction
    changed something that these depend on. Return how many transactions have their old values
    again, and how many do not.
    """
    undone, kept, last = 0, 0, 0
    changes = TransactionChange.objects.filter(correction=correction).order_by("transaction")
    while True:
        remaining = changes.filter(transaction__gt=last)
        ids = list(remaining.values_list("transaction_id", flat=True).distinct()[:BATCH_SIZE])
        if not ids:
            return undone, kept
        with transaction.atomic():
            undone_in_batch = undo_batch(correction, ids, user, reason)
        undone += undone_in_batch
        kept += len(ids) - undone_in_batch
        last = ids[-1]


def can_undo(correction: UUID) -> bool:
    """Return whether the old values may be written back into any transaction of the correction."""
    changes = TransactionChange.objects.filter(
        correction=correction, transaction__statement=None, transaction__sales_order=None
    )
    if changes_prepayments(corrected_fields(changes)):
        changes = changes.filter(transaction__prepayment_statement=None)
    return changes.exists()


def undo_batch(correction: UUID, ids: list[int], user: Any, reason: str) -> int:
    """Write the old values into the transactions that nobody else holds. Return how many changed.

    Effects: the transactions, a record of each change, and a new validation.
    """
    changes = TransactionChange.objects.filter(correction=correction, transaction__in=ids)
    fields = corrected_fields(changes)
    locked = lock_correctable(ids, user, changes_prepaid=changes_prepayments(fields))
    changed: set[int] = set()
    for part, field in fields:
        changed |= replace_values(
            part,
            field,
            OLD_VALUES,
            {"undone": str(correction), "locked": locked},
            ChangeNote(user, reason),
            only_unchanged=True,
        )
    undone = sorted(changed)
    end_leases(RetailTransaction.objects.filter(pk__in=undone))
    if undone:
        revalidate(undone)
    return len(undone)


def changes_prepayments(fields: Iterable[tuple[str, str]]) -> bool:
    return any(changes_prepayment(part, [field]) for part, field in fields)


def corrected_fields(changes: models.QuerySet[TransactionChange]) -> set[tuple[str, str]]:
    """Return the part and the name of each field that was changed."""
    in_header = models.ExpressionWrapper(models.Q(line_number=None), models.BooleanField())
    fields = set()
    for field, is_in_header in set(changes.values_list("field", in_header)):
        if is_in_header:
            fields.add(("header", field))
        elif field in PAYMENT_FIELDS:
            fields.add(("payment", field))
        else:
            fields.add(("line", field))
    return fields
