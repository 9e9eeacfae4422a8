"""Undo a bulk correction of sales: write the old values back.

A *sale* is here all that a till sells, takes back or orders: a header with its lines and payments.
A *bulk correction* gives a field of many sales another value, for example the right currency, and
records each change with the old value. A sale keeps the corrected value when this is undone,

- if the field was changed again since;
- if the sale is in a statement or has become a sales order, so that it is being posted;
- if a statement has taken its prepayments only, and the corrected field changes them;
- if another person or a job is working on it now.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import BooleanField, ExpressionWrapper, Q, QuerySet

from stores.models import RetailTransaction, TransactionChange
from stores.pipeline.corrections.bulk import (
    BATCH_SIZE,
    ChangeNote,
    lock_correctable,
    replace_values,
)
from stores.pipeline.corrections.revalidate import revalidate
from stores.pipeline.corrections.sale import PAYMENT_FIELDS, changes_prepayment, end_leases

# The columns as replace_values() wants them: the value that each row is to have, which is the old
# one of the correction, and the value that the correction wrote. replace_values() adds %(field)s.
OLD_VALUES = """
    SELECT transaction_id AS sale, line_number, old AS new, new AS written
      FROM transaction_change
     WHERE correction = %(undone)s AND field = %(field)s AND transaction_id = ANY(%(locked)s)"""


class UndoResult(NamedTuple):
    """How many sales have their old values again, and how many have kept the corrected ones."""

    undone: int
    unchanged: int


class CorrectedField(NamedTuple):
    """A field that a correction has changed; `part` is header, line or payment."""

    part: str
    name: str


def undo_bulk_correction(correction: UUID, user: Any, reason: str) -> UndoResult:
    """Write the old values back where that is possible, each batch in a database transaction."""
    undone = unchanged = 0
    for sale_ids in corrected_sales(correction):
        with transaction.atomic():
            undone_in_batch = undo_batch(correction, sale_ids, user, reason)
        undone += undone_in_batch
        unchanged += len(sale_ids) - undone_in_batch
    return UndoResult(undone, unchanged)


def can_undo(correction: UUID) -> bool:
    """Return whether a sale of the correction is left that may get its old values back."""
    changes = TransactionChange.objects.filter(
        correction=correction, transaction__statement=None, transaction__sales_order=None
    )
    if concern_prepayments(corrected_fields(changes)):
        changes = changes.filter(transaction__prepayment_statement=None)
    return changes.exists()


def corrected_sales(correction: UUID) -> Iterator[list[int]]:
    """Yield the ids of the sales that were corrected, in batches."""
    changes = TransactionChange.objects.filter(correction=correction).order_by("transaction")
    last_id = 0
    while True:
        following = changes.filter(transaction__gt=last_id)
        sale_ids = list(following.values_list("transaction_id", flat=True).distinct()[:BATCH_SIZE])
        if not sale_ids:
            return
        yield sale_ids
        last_id = sale_ids[-1]


def undo_batch(correction: UUID, sale_ids: list[int], user: Any, reason: str) -> int:
    """Write the old values into those of the sales that may change now. Return how many.

    Effects, in the caller's database transaction: the sales change, each change is recorded, and
    the sales are validated again.
    """
    changes = TransactionChange.objects.filter(correction=correction, transaction__in=sale_ids)
    fields = corrected_fields(changes)
    locked = lock_correctable(sale_ids, user, changes_prepayments=concern_prepayments(fields))
    undone: set[int] = set()
    for field in fields:
        undone |= replace_values(
            field.part,
            field.name,
            OLD_VALUES,
            {"undone": str(correction), "locked": locked},
            ChangeNote(user, reason),
            only_unchanged=True,
        )
    # The user may have some of them open for a correction, in forms that show other values.
    end_leases(RetailTransaction.objects.filter(pk__in=undone))
    if undone:
        revalidate(sorted(undone))
    return len(undone)


def concern_prepayments(fields: Iterable[CorrectedField]) -> bool:
    """Return whether prepayments depend on one of the fields."""
    return any(changes_prepayment(field.part, [field.name]) for field in fields)


def corrected_fields(changes: QuerySet[TransactionChange]) -> set[CorrectedField]:
    """Return the fields of recorded changes.

    A record does not name the part, but shows it: only the header has no line number, and no field
    of a line is called like one of a payment (see test_undo.py).
    """
    has_no_line = ExpressionWrapper(Q(line_number=None), BooleanField())
    fields = set()
    for name, is_of_header in set(changes.values_list("field", has_no_line)):
        if is_of_header:
            part = "header"
        elif name in PAYMENT_FIELDS:
            part = "payment"
        else:
            part = "line"
        fields.add(CorrectedField(part, name))
    return fields
