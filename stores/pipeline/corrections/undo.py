"""Undo a bulk correction wherever the corrected values are still there."""

from typing import Any
from uuid import UUID

from django.db import models, transaction
from psycopg2 import sql

from stores.hqdb.files import load
from stores.models import RetailTransaction, TransactionChange
from stores.pipeline.corrections.bulk import (
    BATCH_SIZE,
    ChangeNote,
    column_type,
    lock_correctable,
    replace_values,
)
from stores.pipeline.corrections.revalidate import revalidate
from stores.pipeline.corrections.sale import PAYMENT_FIELDS, end_leases

REPLACED_VALUES = load(__file__, "_replaced_values")


def undo_bulk_correction(correction: UUID, user: Any, reason: str) -> tuple[int, int]:
    """Write the old values back, unless a value was changed or its transaction posted since.

    Returns how many transactions have their old values again, and how many do not. Effects: as
    those of correct_all().
    """
    undone = kept = last = 0
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
    """Write the old values into the transactions that nobody holds. Returns how many changed."""
    locked = lock_correctable(ids, user)
    changed: set[int] = set()
    for part, name in corrected_fields(correction, ids):
        changed |= replace_values(
            part,
            name,
            replaced_values(part, name),
            is_unchanged(name),
            {"of": str(correction), "locked": locked},
            ChangeNote(user, reason),
        )
    undone = sorted(changed)
    end_leases(RetailTransaction.objects.filter(pk__in=undone))
    if undone:
        revalidate(undone)
    return len(undone)


def corrected_fields(correction: UUID, ids: list[int]) -> set[tuple[str, str]]:
    """The part and the name of each field that the correction changed in these transactions."""
    changes = TransactionChange.objects.filter(correction=correction, transaction__in=ids)
    in_header = models.ExpressionWrapper(models.Q(line_number=None), models.BooleanField())
    fields = set()
    for name, is_in_header in set(changes.values_list("field", in_header)):
        if is_in_header:
            fields.add(("header", name))
        elif name in PAYMENT_FIELDS:
            fields.add(("payment", name))
        else:
            fields.add(("line", name))
    return fields


def replaced_values(part: str, name: str) -> sql.Composed:
    return REPLACED_VALUES.format(kind=column_type(part, name))


def is_unchanged(name: str) -> sql.Composed:
    """Condition: a field still has the value that the correction wrote."""
    return sql.SQL("part.{} IS NOT DISTINCT FROM change.was").format(sql.Identifier(name))
