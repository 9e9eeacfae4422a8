"""Resolve a conflict between two edits of one field: keep the present value, or use the other.

Neither edit had seen the other, and one of them was kept. The conflict has the lost value, which is
that of the other edit, until a person decides.
"""

from typing import Any

from django.db import transaction

from stores.models import EditConflict
from stores.models.conflict import ConflictChoice
from stores.models.customer import AccountState
from stores.models.staging import Operation
from stores.pipeline.corrections.customer import (
    Edit,
    EditsRefused,
    Stale,
    complete_state,
    save_edits,
)
from stores.pipeline.events import kinds

ALREADY_CLOSED = "The conflict is already closed."


class ConflictRefused(Exception):
    """A conflict cannot be closed in this way; the message says why. Nothing was saved."""


def can_be_closed(conflict: EditConflict) -> bool:
    """Return whether a person may still decide. Of an erased customer nothing is left to decide."""
    return conflict.can_be_decided and conflict.customer.state == AccountState.ACTIVE


def resolve_conflict(
    conflict: EditConflict, choice: ConflictChoice, reason: str, *, version: int, by: Any
) -> None:
    """Close a conflict. ConflictChoice.TAKE replaces the present value with the lost one.

    `version` is the version of the customer that the person has seen. Effects: the conflict; with
    the lost value also an event of HQ, applied at once. Raise ConflictRefused if this is not
    possible, CustomersBusy while customers are being converted.
    """
    if not can_be_closed(conflict):
        raise ConflictRefused(ALREADY_CLOSED)
    try:
        with transaction.atomic():
            event = None
            if choice == ConflictChoice.TAKE:
                edits = [edit_of_conflict(conflict)]
                [event] = save_edits(conflict.customer, edits, version=version, by=by)
            if not conflict.settle(choice, reason, by=by, event=event):
                # Another person, or an edit, was faster. The exception rolls the event back.
                raise ConflictRefused(ALREADY_CLOSED)
    except Stale as error:
        raise ConflictRefused(str(error)) from error
    except EditsRefused as error:
        fields = ", ".join(error.fields)
        raise ConflictRefused(f"The other value breaks a current rule: {fields}.") from error


def current_value(conflict: EditConflict) -> Any:
    """Return the value that the field of the conflict has now."""
    _, row = conflict_row(conflict)
    return getattr(row, conflict.field)


def edit_of_conflict(conflict: EditConflict) -> Edit:
    """Return the edit that writes the lost value into the row."""
    kind, row = conflict_row(conflict)
    value = conflict.lost_value or None
    if conflict.field != "is_active":
        state = complete_state(kind, row, {conflict.field: value})
        return Edit(kind, {"operation": Operation.UPDATE, **state})
    operation = Operation.UPDATE if value == "true" else Operation.DEACTIVATE
    return Edit(kind, {"operation": operation, **complete_state(kind, row)})


def conflict_row(conflict: EditConflict) -> tuple[kinds.EventKind, Any]:
    """Return the kind and the row of the conflict: the customer, or one of its addresses etc."""
    kind = next(kind for kind in kinds.EVENT_KINDS if kind.event == conflict.table)
    customer = conflict.customer
    if kind is kinds.CUSTOMER:
        return kind, customer
    details: dict[kinds.EventKind, Any] = {
        kinds.ADDRESS: customer.addresses,
        kinds.CONTACT: customer.contacts,
        kinds.AFFILIATION: customer.affiliations,
        kinds.ATTRIBUTE: customer.attributes,
    }
    return kind, details[kind].get(**{kind.key[0]: conflict.key})
