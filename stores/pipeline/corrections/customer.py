"""Save the edits that a person makes of one customer.

Edits become events of HQ, which the statements of the conversion apply at once. An edit is accepted
only if the person has seen the customer's latest version. Otherwise it would undo changes that the
person did not know. Pending events of channels are therefore applied first.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import OperationalError, transaction
from django.db.models import QuerySet

from stores.hqdb.retry import TRANSIENT, sqlstate_of
from stores.hqdb.sql import lock_until_commit, run_sql
from stores.models import Customer
from stores.models.customer import AccountState
from stores.models.staging import Event, StagingStatus
from stores.pipeline.convert.apply import apply_events, convert_batch
from stores.pipeline.corrections.events import EventRefused, create_event
from stores.pipeline.events.kinds import CUSTOMER, EVENT_KINDS, INHERITED_COLUMNS, EventKind
from stores.pipeline.events.rules import STAGING_MODELS, Rule
from stores.pipeline.fields_to_correct import settle_fields
from stores.pipeline.upload.batches import close_batch, open_batch

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
    """One edit: the new columns of a customer, an address or another detail, and the operation."""

    kind: EventKind
    values: Mapping[str, Any]


class EditsRefused(Exception):
    def __init__(self, broken: Mapping[int, Sequence[Rule]]) -> None:
        super().__init__(f"{len(broken)} edits break rules")
        self.broken = broken

    @property
    def fields(self) -> list[str]:
        return [rule.field for rules in self.broken.values() for rule in rules]


def save_edits(customer: Customer, edits: Sequence[Edit], *, version: int, by: Any) -> list[UUID]:
    """Make an event of each edit and apply it. Returns the ids of the events.

    `version` is the one of the customer that the person has seen. Effects: staging, the customer
    with its details, and deliveries; all edits are saved, or none. Errors: Stale; Busy;
    EditsRefused with the broken rules by the position of the edit.
    """
    with wait_briefly():
        apply_pending(customer)
    with wait_briefly():
        lock_until_commit(f"accounts:{customer.company_id}")
        refuse_stale(customer, version)
        batch = open_batch(customer.company)
        made = make_events(customer, edits, batch=batch, by=by)
        close_batch(batch, len(made))
        convert_batch(customer.company, batch)
        settle_fields(customer.company, customer)
    return made


@contextmanager
def wait_briefly() -> Iterator[None]:
    """Run in a transaction that waits only briefly for locks. Errors: Busy."""
    try:
        with transaction.atomic():
            run_sql("SELECT set_config('lock_timeout', %s, true)", [f"{MAX_WAIT_S}s"])
            yield
    except OperationalError as error:
        if sqlstate_of(error) in TRANSIENT:
            raise Busy from error
        raise


def apply_pending(customer: Customer) -> None:
    """Apply the events of the customer that channels sent and no conversion has applied yet."""
    events = {
        kind: list(pending_events_of(customer, kind).values_list("pk", flat=True))
        for kind in EVENT_KINDS
    }
    if any(events.values()):
        apply_events(customer.company, events, run_key=None)


def pending_events_of(customer: Customer, kind: EventKind) -> QuerySet[Event]:
    events = STAGING_MODELS[kind.name].objects.of_customer(customer)
    return events.filter(status=StagingStatus.PENDING)


def refuse_stale(customer: Customer, version: int) -> None:
    """Refuse an edit unless `version` is the latest. The caller has the lock. Errors: Stale."""
    unchanged = Customer.objects.filter(
        pk=customer.pk, hq_version=version, state=AccountState.ACTIVE
    )
    has_pending = any(pending_events_of(customer, kind).exists() for kind in EVENT_KINDS)
    if has_pending or not unchanged.exists():
        raise Stale


def make_events(customer: Customer, edits: Sequence[Edit], *, batch: int, by: Any) -> list[UUID]:
    """Stage one event for each edit. Errors: EditsRefused."""
    made: list[UUID] = []
    broken: dict[int, Sequence[Rule]] = {}
    for position, edit in enumerate(edits):
        try:
            event_id = create_event(
                customer.company,
                edit.kind,
                {**edit.values, "account_number": customer.account_number},
                by=by,
                batch=batch,
                unchanged=unchanged_fields(customer, edit),
            )
            made.append(event_id)
        except EventRefused as refused:
            broken[position] = refused.broken
    if broken:
        raise EditsRefused(broken)
    return made


def unchanged_fields(customer: Customer, edit: Edit) -> set[str]:
    """The fields of the customer that an edit leaves as they are; none of an address or detail."""
    if edit.kind is not CUSTOMER:
        return set()
    return {
        column
        for column in CUSTOMER.columns
        if edit.values.get(column) == getattr(customer, column)
    }


def complete_state(
    kind: EventKind, row: Any, changed: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """All columns of a row as an event states them, with some of them changed.

    Columns that a customer may have inherited are empty unless they are changed, so that they stay
    inherited. An organization states its type all the same, because its name has a rule of its own.
    """
    changed = changed or {}
    state = {column: getattr(row, column) for column in kind.columns} | dict(changed)
    if kind is CUSTOMER:
        for column in INHERITED_COLUMNS:
            is_organization = column == "customer_type" and row.customer_type == "organization"
            if column not in changed and not is_organization:
                state[column] = None
    return state
