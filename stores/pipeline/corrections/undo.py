"""Undo a bulk correction of transactions: write the old values back.

A *transaction* is a sale, a return or an order as a till has written it: a header with its lines
and payments. A *bulk correction* gives a field of many transactions another value, for example the
right currency, and records each change with the old value. To undo it is to write the old values
back. A transaction keeps the corrected value

- if the field was changed again since;
- if the transaction is in a statement or has become a sales order, so that it is being posted;
- if only its prepayments are in a statement, and they depend on the field;
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

# For replace_values(): the value that each row is to have, and the one that the correction wrote.
OLD_VALUES = """
    SELECT transaction_id AS sale, line_number, old AS new, new AS written
      FROM transaction_change
     WHERE correction = %(undone)s AND field = %(field)s AND transaction_id = ANY(%(locked)s)"""


class UndoResult(NamedTuple):
    """How many transactions have their old values again, and how many have kept the new ones."""

    undone: int
    unchanged: int


class ChangedField(NamedTuple):
    """A field of a header, line or payment, which is the part."""

    part: str
    field: str


def undo_bulk_correction(correction: UUID, user: Any, reason: str) -> UndoResult:
    """Write the old values back wherever that is possible, in one transaction a batch."""
    changes = TransactionChange.objects.filter(correction=correction)
    undone = unchanged = 0
    for ids in corrected_transactions(changes):
        with transaction.atomic():
            undone_in_batch = undo_batch(correction, ids, user, reason)
        undone += undone_in_batch
        unchanged += len(ids) - undone_in_batch
    return UndoResult(undone, unchanged)


def can_undo(correction: UUID) -> bool:
    """Return whether a transaction of the correction is left that may get its old values back."""
    changes = TransactionChange.objects.filter(
        correction=correction, transaction__statement=None, transaction__sales_order=None
    )
    if changes_prepayments(corrected_fields(changes)):
        changes = changes.filter(transaction__prepayment_statement=None)
    return changes.exists()


def corrected_transactions(changes: QuerySet[TransactionChange]) -> Iterator[list[int]]:
    """Yield the ids of the transactions that were changed, in batches."""
    last = 0
    while True:
        following = changes.filter(transaction__gt=last).order_by("transaction")
        ids = list(following.values_list("transaction_id", flat=True).distinct()[:BATCH_SIZE])
        if not ids:
            return
        yield ids
        last = ids[-1]


def undo_batch(correction: UUID, ids: list[int], user: Any, reason: str) -> int:
    """Write the old values into those of the transactions that may change now. Return how many.

    Effects, in one transaction of the database, which the caller makes: the transactions change,
    each change is recorded, and the transactions are validated again.
    """
    changes = TransactionChange.objects.filter(correction=correction, transaction__in=ids)
    fields = corrected_fields(changes)
    locked = lock_correctable(ids, user, changes_prepaid=changes_prepayments(fields))
    undone: set[int] = set()
    for part, field in fields:
        undone |= replace_values(
            part,
            field,
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


def changes_prepayments(fields: Iterable[ChangedField]) -> bool:
    """Return whether prepayments depend on one of the fields."""
    return any(changes_prepayment(part, [field]) for part, field in fields)


def corrected_fields(changes: QuerySet[TransactionChange]) -> set[ChangedField]:
    # Only a change of a header has no line number.
    is_of_header = ExpressionWrapper(Q(line_number=None), BooleanField())
    fields = set()
    for field, is_in_header in set(changes.values_list("field", is_of_header)):
        if is_in_header:
            part = "header"
        elif field in PAYMENT_FIELDS:
            # No field of a line is called like one of a payment.
            part = "payment"
        else:
            part = "line"
        fields.add(ChangedField(part, field))
    return fields
