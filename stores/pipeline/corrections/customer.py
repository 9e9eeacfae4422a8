"""Edits that people make of one customer: events of HQ, merged at once by the statements of all.

Who saves must have seen what HQ holds. So what channels sent of the customer is applied first, and
an edit of an older version is refused: it would take back what it never saw.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import OperationalError, transaction
from django.db.models import Q, QuerySet

from stores.hqdb.retry import TRANSIENT, sqlstate_of
from stores.hqdb.sql import lock_until_commit, run_sql
from stores.models import Customer, EditConflict, RunStep
from stores.models.conflict import Choice
from stores.models.customer import AccountState
from stores.models.staging import Event, Operation, StagingStatus
from stores.pipeline.convert.known_customers import apply_claimed, apply_to_known_customers
from stores.pipeline.corrections.events import EventRefused, create_event
from stores.pipeline.events.kinds import (
    ADDRESS,
    AFFILIATION,
    ATTRIBUTE,
    CONTACT,
    CUSTOMER,
    EVENT_KINDS,
    INHERITED_COLUMNS,
    EventKind,
)
from stores.pipeline.events.rules import STAGING_MODELS, Rule
from stores.pipeline.fields_to_correct import settle_fields

MAX_WAIT_S = 5


class Stale(Exception):
    """Changed meanwhile: nothing was saved. This is the customer as it is now."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


class Busy(Exception):
    """Customers are being converted: nothing was saved. Save again in a moment."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


@dataclass(frozen=True)
class Edit:
    """One event to be made: the columns of one entity, with its operation."""

    kind: EventKind
    values: Mapping[str, Any]


class EditsRefused(Exception):
    """Some edits break rules."""

    def __init__(self, broken: Mapping[int, Sequence[Rule]]) -> None:
        super().__init__(f"{len(broken)} edits break rules")
        self.broken = broken

    @property
    def fields(self) -> list[str]:
        """The fields that break a rule."""
        return [rule.field for rules in self.broken.values() for rule in rules]


def save_edits(customer: Customer, edits: Sequence[Edit], *, version: int, by: Any) -> list[UUID]:
    """Make events of HQ of the edits and apply them. Returns the ids of the events.

    `seen` is the version of the customer that the person was shown. Effects: staging, the customer
    and what belongs to it, deliveries; all or nothing. Errors: Stale; EditsRefused
    with the broken rules by the place of the edit; Busy.
    """
    with wait_briefly():
        apply_pending(customer)
    with wait_briefly():
        lock_until_commit(f"accounts:{customer.company_id}")
        refuse_stale(customer, version)
        made = make_events(customer, edits, by=by)
        for kind in EVENT_KINDS:
            event_ids = [
                event for event, edit in zip(made, edits, strict=True) if edit.kind is kind
            ]
            if event_ids:
                apply_claimed(RunStep(), customer.company, kind, only=event_ids)
        settle_fields(customer.company, customer)
    return made


@contextmanager
def wait_briefly() -> Iterator[None]:
    """Wait for others no longer than a person would. Errors: Busy."""
    try:
        with transaction.atomic():
            run_sql("SELECT set_config('lock_timeout', %s, true)", [f"{MAX_WAIT_S}s"])
            yield
    except OperationalError as error:
        if sqlstate_of(error) in TRANSIENT:
            raise Busy from error
        raise


def apply_pending(customer: Customer) -> None:
    """Apply what channels sent of the customer and no conversion has taken yet."""
    for kind in EVENT_KINDS:
        if event_ids := list(pending_events_of(customer, kind).values_list("pk", flat=True)):
            apply_to_known_customers(RunStep(), customer.company, kind, only=event_ids)


def pending_events_of(customer: Customer, kind: EventKind) -> QuerySet[Event]:
    """Pending events that name the customer, by GUID or by account number."""
    guids = list(customer.guids.values_list("pk", flat=True))
    named = Q(async_account__in=guids) | Q(account_number=customer.account_number)
    pending = STAGING_MODELS[kind.name].objects.filter(status=StagingStatus.PENDING)
    return pending.filter(named, company=customer.company_id)


def refuse_stale(customer: Customer, version: int) -> None:
    """Make sure that HQ holds the version seen, under the lock of all who write customers."""
    now = Customer.objects.filter(pk=customer.pk, hq_version=version, state=AccountState.ACTIVE)
    if not now.exists() or any(pending_events_of(customer, kind).exists() for kind in EVENT_KINDS):
        raise Stale


def make_events(customer: Customer, edits: Sequence[Edit], *, by: Any) -> list[UUID]:
    """Stage one event for each edit. Errors: EditsRefused."""
    made, broken = [], {}
    own = {"account_number": customer.account_number}
    for place, edit in enumerate(edits):
        try:
            values = {**edit.values, **own}
            unchanged = untouched(customer, edit)
            made.append(
                create_event(customer.company, edit.kind, values, by=by, unchanged=unchanged)
            )
        except EventRefused as refused:
            broken[place] = refused.broken
    if broken:
        raise EditsRefused(broken)
    return made


def untouched(customer: Customer, edit: Edit) -> set[str]:
    """The fields of the customer that an edit leaves as they are, if it is one of the customer."""
    if edit.kind is not CUSTOMER:
        return set()
    stored = {column: getattr(customer, column) for column in CUSTOMER.columns}
    return {column for column, value in stored.items() if edit.values.get(column) == value}


# ------------------------------------------------------------------- what events say


def complete_state(
    kind: EventKind, row: Any, changed: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The whole state of a row as an event gives it, with some columns changed.

    What a customer may have inherited is said only by who changes it; an organization stays one, so
    that its name is judged by its own rule.
    """
    stored: dict[str, Any] = {column: getattr(row, column) for column in kind.columns}
    stored.update(changed or {})
    if kind is CUSTOMER:
        is_kept = set(INHERITED_COLUMNS) - set(changed or ())
        is_kept -= {"customer_type"} if row.customer_type == "organization" else set()
        stored |= dict.fromkeys(is_kept)
    return stored


def conflict_row(conflict: EditConflict) -> tuple[EventKind, Any]:
    kind = next(kind for kind in EVENT_KINDS if kind.event == conflict.table)
    customer = conflict.customer
    parts: dict[EventKind, Any] = {
        ADDRESS: customer.addresses,
        CONTACT: customer.contacts,
        AFFILIATION: customer.affiliations,
        ATTRIBUTE: customer.attributes,
    }
    if kind is CUSTOMER:
        return kind, customer
    return kind, parts[kind].get(**{kind.key[0]: conflict.key})


def can_be_closed(conflict: EditConflict) -> bool:
    """Whether a person may still decide about a customer whom HQ has."""
    return conflict.is_left_to_people and conflict.customer.state == AccountState.ACTIVE


def resolve_conflict(
    conflict: EditConflict, choice: Choice, reason: str, *, version: int, by: Any
) -> bool:
    """Keep the present value of a conflict, or take the other. Says whether nobody was faster.

    Errors: as of save_edits.
    """
    if choice == Choice.KEEP:
        return conflict.settle(Choice.KEEP, reason, by=by)
    return use_other_value(conflict, reason, version=version, by=by)


def use_other_value(conflict: EditConflict, reason: str, *, version: int, by: Any) -> bool:
    """Close a conflict with the value that had lost: a new event of HQ, after both edits.

    False if somebody else has closed it meanwhile, and then nothing is saved. Errors: as of
    save_edits.
    """
    with transaction.atomic():
        [made] = save_edits(conflict.customer, [edit_of_conflict(conflict)], version=version, by=by)
        is_closed_now = conflict.settle(Choice.TAKE, reason, by=by, made=made)
        transaction.set_rollback(not is_closed_now)
    return is_closed_now


def edit_of_conflict(conflict: EditConflict) -> Edit:
    """The edit that brings the lost value back into the row as it is now."""
    kind, row = conflict_row(conflict)
    value = conflict.lost_value or None
    if conflict.field != "is_active":
        state = complete_state(kind, row, {conflict.field: value})
        return Edit(kind, {"operation": Operation.UPDATE, **state})
    operation = Operation.UPDATE if value == "true" else Operation.DEACTIVATE
    return Edit(kind, {"operation": operation, **complete_state(kind, row)})
