"""Save the edits that a person makes of one customer.

Each edit becomes an event of HQ, which is staged and applied at once like the events of channels.
It is accepted only if the person has seen the customer's latest version; otherwise it could undo
changes that the person did not know of. Pending events, which channels have sent and no conversion
has applied yet, are therefore applied first.
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
from stores.models.customer import AccountState, composed_name
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


class CustomersBusy(Exception):
    """Customers are being converted: nothing was saved. Save again in a moment."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


@dataclass(frozen=True)
class Edit:
    """One edit: the new columns of a customer, an address or another detail, and the operation."""

    kind: EventKind
    values: Mapping[str, Any]


class EditsRefused(Exception):
    """Edits break rules: nothing was saved. `broken` has the rules by the position of the edit."""

    def __init__(self, broken: Mapping[int, Sequence[Rule]]) -> None:
        super().__init__(f"{len(broken)} edits break rules")
        self.broken = broken

    @property
    def fields(self) -> list[str]:
        return [rule.field for rules in self.broken.values() for rule in rules]


def save_edits(customer: Customer, edits: Sequence[Edit], *, version: int, by: Any) -> list[UUID]:
    """Make an event of each edit and apply it. Return the ids of the events.

    `version` is the version of the customer that the person has seen. All edits are saved, or none.
    Raise Stale, CustomersBusy or EditsRefused.
    """
    with wait_briefly():
        apply_pending(customer)
    with wait_briefly():
        lock_until_commit(f"accounts:{customer.company_id}")
        refuse_stale(customer, version)
        batch = open_batch(customer.company)
        events = make_events(customer, edits, batch=batch, by=by)
        close_batch(batch, len(events))
        convert_batch(customer.company, batch)
        settle_fields(customer.company, customer)
    return events


@contextmanager
def wait_briefly() -> Iterator[None]:
    """Run the block in a transaction. Raise CustomersBusy if a lock takes more than MAX_WAIT_S."""
    try:
        with transaction.atomic():
            run_sql("SELECT set_config('lock_timeout', %s, true)", [f"{MAX_WAIT_S}s"])
            yield
    except OperationalError as error:
        if sqlstate_of(error) in TRANSIENT:
            raise CustomersBusy from error
        raise


def apply_pending(customer: Customer) -> None:
    """Apply the customer's pending events."""
    events = {
        kind: list(pending_events_of(customer, kind).values_list("pk", flat=True))
        for kind in EVENT_KINDS
    }
    if any(events.values()):
        apply_events(customer.company, events, run_key=None)


def pending_events_of(customer: Customer, kind: EventKind) -> QuerySet[Event]:
    events = STAGING_MODELS[kind.noun].objects.of_customer(customer)
    return events.filter(status=StagingStatus.PENDING)


def refuse_stale(customer: Customer, version: int) -> None:
    """Raise Stale unless `version` is the latest. The caller has locked the accounts."""
    unchanged = Customer.objects.filter(
        pk=customer.pk, hq_version=version, state=AccountState.ACTIVE
    )
    has_pending = any(pending_events_of(customer, kind).exists() for kind in EVENT_KINDS)
    if has_pending or not unchanged.exists():
        raise Stale


def make_events(customer: Customer, edits: Sequence[Edit], *, batch: int, by: Any) -> list[UUID]:
    """Stage one event for each edit. Raise EditsRefused if any breaks rules."""
    events: list[UUID] = []
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
            events.append(event_id)
        except EventRefused as refused:
            broken[position] = refused.broken
    if broken:
        raise EditsRefused(broken)
    return events


def unchanged_fields(customer: Customer, edit: Edit) -> set[str]:
    """Return the customer's fields that an edit leaves as they are. Other edits have none."""
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
    """Return all columns of a row as an event states them, with the `changed` ones replaced.

    A column that a customer may have inherited is left empty unless it is changed, so that it stays
    inherited. An organization states its type all the same, because its name has a rule of its own.
    """
    changed = changed or {}
    present = {column: getattr(row, column) for column in kind.columns}
    state = present | dict(changed)
    if kind is CUSTOMER:
        state["name"] = edited_name(present, state)
        for column in INHERITED_COLUMNS:
            is_organization = column == "customer_type" and row.customer_type == "organization"
            if column not in changed and not is_organization:
                state[column] = None
    return state


def edited_name(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """Return the full name of a customer whose columns were `old` and are to be `new`.

    If it was composed of a person's other names, it is composed anew; it stays if none is left.
    """
    parts = ("first_name", "middle_name", "last_name")
    name: str | None = new.get("name")
    is_kept = name == old.get("name") and new.get("customer_type") != "organization"
    if is_kept and name == composed_name(*map(old.get, parts)):
        return composed_name(*map(new.get, parts)) or name
    return name
