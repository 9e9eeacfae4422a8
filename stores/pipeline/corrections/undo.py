"""Undo a bulk correction wherever the corrected values are still there."""

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
from stores.pipeline.corrections.sale import PAYMENT_FIELDS, end_leases

# The values before the correction, and those that it wrote.
OLD_VALUES = """
    SELECT transaction_id AS sale, line_number, old AS new, new AS written
      FROM transaction_change
     WHERE correction = %(undone)s AND field = %(field)s AND transaction_id = ANY(%(locked)s)"""


def undo_bulk_correction(correction: UUID, user: Any, reason: str) -> tuple[int, int]:
    """Write the old values back, unless a value was changed or its transaction posted since.

    Return how many transactions have their old values again, and how many do not.
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


def undo_batch(correction: UUID, ids: list[int], user: Any, reason: str) -> int:
    """Write the old values into the transactions that nobody else holds. Return how many changed.

    Effects: the transactions, a record of each change, and a new validation.
    """
    locked = lock_correctable(ids, user)
    changed: set[int] = set()
    for part, field in corrected_fields(correction, ids):
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


def corrected_fields(correction: UUID, ids: list[int]) -> set[tuple[str, str]]:
    """Return the part and the name of each field that the correction changed in transactions."""
    changes = TransactionChange.objects.filter(correction=correction, transaction__in=ids)
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
