"""Resolve a conflict between two edits of one field: keep the present value, or use the other."""

from typing import Any

from django.db import transaction

from stores.models import EditConflict
from stores.models.conflict import Choice
from stores.models.customer import AccountState
from stores.models.staging import Operation
from stores.pipeline.corrections.customer import Edit, complete_state, save_edits
from stores.pipeline.events.kinds import (
    ADDRESS,
    AFFILIATION,
    ATTRIBUTE,
    CONTACT,
    CUSTOMER,
    EVENT_KINDS,
    EventKind,
)


def can_be_closed(conflict: EditConflict) -> bool:
    """Whether a person may still decide. An erased customer has nothing to decide about."""
    return conflict.is_left_to_people and conflict.customer.state == AccountState.ACTIVE


def resolve_conflict(
    conflict: EditConflict, choice: Choice, reason: str, *, version: int, by: Any
) -> bool:
    """Keep the present value of a conflict, or use the other one.

    Returns False if somebody else has closed the conflict. Errors: as those of save_edits().
    """
    if choice == Choice.KEEP:
        return conflict.settle(Choice.KEEP, reason, by=by)
    return use_other_value(conflict, reason, version=version, by=by)


def use_other_value(conflict: EditConflict, reason: str, *, version: int, by: Any) -> bool:
    """Save the value that was replaced, as a new event of HQ, and close the conflict.

    Returns False, and saves nothing, if somebody else has closed the conflict. Errors: as those of
    save_edits().
    """
    with transaction.atomic():
        edits = [edit_of_conflict(conflict)]
        [event] = save_edits(conflict.customer, edits, version=version, by=by)
        is_closed_now = conflict.settle(Choice.TAKE, reason, by=by, event=event)
        transaction.set_rollback(not is_closed_now)
    return is_closed_now


def edit_of_conflict(conflict: EditConflict) -> Edit:
    """The edit that writes the replaced value into the present row."""
    kind, row = conflict_row(conflict)
    value = conflict.lost_value or None
    if conflict.field != "is_active":
        state = complete_state(kind, row, {conflict.field: value})
        return Edit(kind, {"operation": Operation.UPDATE, **state})
    operation = Operation.UPDATE if value == "true" else Operation.DEACTIVATE
    return Edit(kind, {"operation": operation, **complete_state(kind, row)})


def conflict_row(conflict: EditConflict) -> tuple[EventKind, Any]:
    """The kind and the row of the conflict: the customer, or one of its addresses or details."""
    kind = next(kind for kind in EVENT_KINDS if kind.event == conflict.table)
    customer = conflict.customer
    if kind is CUSTOMER:
        return kind, customer
    details: dict[EventKind, Any] = {
        ADDRESS: customer.addresses,
        CONTACT: customer.contacts,
        AFFILIATION: customer.affiliations,
        ATTRIBUTE: customer.attributes,
    }
    return kind, details[kind].get(**{kind.key[0]: conflict.key})
