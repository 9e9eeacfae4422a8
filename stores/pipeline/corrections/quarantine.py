"""Settle the rows that headquarters could not use: release, dismiss or correct them.

A case id names the row: the number of a quarantined row, or the event id of a failed event.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from stores.hqdb.retry import bisect_keys
from stores.hqdb.sql import batched
from stores.models import Case, ChannelDatabase, Customer, OpenEvent, Quarantine, SettledEvent
from stores.models.case import UNSETTLED_STATUSES, Cause
from stores.models.open_event import OpenStatus, SettledOutcome
from stores.models.quarantine import QuarantineStatus
from stores.pipeline.corrections.events import EventRefused, create_event
from stores.pipeline.corrections.restage import (
    record_attempts,
    replace_document,
    restage,
    restage_documents,
)
from stores.pipeline.events.document_tables import HEADER
from stores.pipeline.events.kinds import EVENT_KINDS, EventKind
from stores.pipeline.events.rules import STAGING_MODELS, Rule
from stores.pipeline.upload.quarantine import UploadSource

# How many rows one transaction settles.
CASES_PER_CHUNK = 1_000
CORRECTED_MESSAGE = "Corrected at headquarters."


class ChangedMeanwhile(Exception):
    """The row is not open any more."""


@dataclass
class Resolution:
    """How many of the rows were settled, and the case ids of those that are still open."""

    done: int = 0
    still_open: list[str] = field(default_factory=list)

    def __add__(self, other: "Resolution") -> "Resolution":
        return Resolution(self.done + other.done, self.still_open + other.still_open)


def same_cause(
    cause: Cause, *, statuses: Sequence[str] = UNSETTLED_STATUSES
) -> Iterator[list[str]]:
    """The ids of the cases with a cause, in batches. The caller may settle each batch."""
    cases = Case.objects.filter(status__in=statuses).with_cause(cause).order_by("id")
    last = ""
    while batch := list(cases.filter(id__gt=last).values_list("id", flat=True)[:CASES_PER_CHUNK]):
        yield batch
        last = batch[-1]


def split_ids(cases: Sequence[str]) -> tuple[list[int], list[UUID]]:
    """The numbers of quarantined rows and the ids of events that case ids name."""
    numbers = [int(case) for case in cases if case.isdecimal()]
    return numbers, [UUID(case) for case in cases if not case.isdecimal()]


def unsettled_events(events: Sequence[UUID]) -> list[str]:
    """The case ids of those events that failed or are still waiting."""
    cases = Case.objects.unsettled().filter(id__in=[str(event) for event in events])
    return list(cases.values_list("id", flat=True))


def release_rows(cases: Sequence[str], *, by: Any = None, because: str = "") -> Resolution:
    """Check rows by the present rules and definitions, and stage those that pass.

    Failed events become due again. Waiting events stay as they are. Effects: staging and
    quarantine, in a transaction for each batch.
    """
    resolution = Resolution()
    numbers, events = split_ids(cases)
    for batch in batched(numbers, CASES_PER_CHUNK):
        with transaction.atomic():
            resolution += release_batch(batch, by=by, because=because or "Released.")
    for event_batch in batched(events, CASES_PER_CHUNK):
        resolution.done += retry_failed(event_batch)
    resolution.still_open += unsettled_events(events)
    return resolution


def release_batch(numbers: Sequence[int], *, by: Any, because: str) -> Resolution:
    """Release quarantined rows; a row that the database refuses stays open."""
    released, refused = bisect_keys(partial(release_together, by=by, because=because), numbers)
    return sum(released, Resolution(still_open=[str(number) for number in refused]))


def release_together(numbers: Sequence[int], *, by: Any, because: str) -> Resolution:
    """Release quarantined rows, those of one database, table and generation at a time."""
    resolution = Resolution()
    rows = Quarantine.objects.open().filter(pk__in=numbers).select_related("database__channel")
    locked = rows.select_for_update(of=("self",)).order_by("database", "table", "generation", "pk")
    for _, group in groupby(locked, key=attrgetter("database_id", "table", "generation")):
        resolution += release_group(list(group), by=by, because=because)
    return resolution


def release_group(rows: Sequence[Quarantine], *, by: Any, because: str) -> Resolution:
    kind = event_kind_of(rows[0].table)
    source = UploadSource(rows[0].database, None, rows[0].generation)
    failing = restage(source, kind, rows) if kind else restage_documents(source, rows)
    record_attempts(kind or HEADER, failing)
    passed = [row.pk for row in rows if row.pk not in failing]
    settle(
        Quarantine.objects.filter(pk__in=passed),
        QuarantineStatus.RELEASED,
        by=by,
        because=because,
        became=F("event_id"),
    )
    return Resolution(len(passed), [str(number) for number in failing])


def settle(
    rows: QuerySet[Quarantine],
    status: QuarantineStatus,
    *,
    by: Any,
    because: str,
    became: F | UUID | None = None,
) -> int:
    """Close quarantined rows; `became` is the event that each is now. Returns how many."""
    return rows.update(
        status=status, settled_at=Now(), settled_by=by, settled_because=because, became=became
    )


def event_kind_of(table: str) -> EventKind | None:
    """The kind of the events of a table. None for the table of sales."""
    return next((kind for kind in EVENT_KINDS if kind.event == table), None)


def retry_failed(events: Sequence[UUID]) -> int:
    """Make failed events due, for the next conversion. Returns how many."""
    failed = OpenEvent.objects.failed().filter(event_id__in=events)
    return failed.update(status=OpenStatus.WAITING, reason=None, field=None, released_at=Now())


def dismiss_rows(cases: Sequence[str], *, by: Any = None, because: str) -> Resolution:
    """Close quarantined rows until somebody reopens them. Staged events cannot be dismissed.

    Effects: quarantine, in a statement for each batch.
    """
    numbers, events = split_ids(cases)
    resolution = Resolution(still_open=unsettled_events(events))
    for batch in batched(numbers, CASES_PER_CHUNK):
        rows = Quarantine.objects.open().filter(pk__in=batch)
        resolution.done += settle(rows, QuarantineStatus.DISMISSED, by=by, because=because)
    return resolution


def reopen_rows(cases: Sequence[str]) -> int:
    """Open dismissed rows again. Returns how many. They keep who dismissed them, and why.

    Effects: quarantine, in a statement for each batch.
    """
    numbers, _ = split_ids(cases)
    done = 0
    for batch in batched(numbers, CASES_PER_CHUNK):
        dismissed = Quarantine.objects.filter(pk__in=batch, status=QuarantineStatus.DISMISSED)
        done += dismissed.update(status=QuarantineStatus.OPEN, settled_at=None)
    return done


@dataclass(frozen=True)
class LockedCase:
    """An open case, locked until the transaction ends: a quarantined row or a failed event."""

    kind: EventKind
    database: ChannelDatabase
    row: Quarantine | None = None
    event: Any = None

    def supersede(self, made: UUID, by: Any) -> None:
        if self.row:
            supersede_row(self.row.pk, made, by)
        else:
            supersede_event(self.kind, self.event)


def correct_event(case: str, values: Mapping[str, Any], *, by: Any = None) -> UUID:
    """Make an event at HQ with the values that the row should have had. Returns its id.

    The row keeps its values. Effects: one event in staging, and the row is closed, in one
    transaction. Errors: EventRefused with the broken rules; ChangedMeanwhile.
    """
    with transaction.atomic():
        locked = lock_case(case)
        refuse_unknown_account(locked.database, values.get("account_number"))
        made = create_event(
            locked.database.channel.company,
            locked.kind,
            values,
            by=by,
            corrects=case,
            for_database=locked.database,
        )
        locked.supersede(made, by)
        return made


def correct_document(case: str, values: Mapping[str, Any], *, by: Any = None) -> UUID:
    """Make a sale at HQ with the values that the quarantined sale should have had. Returns its id.

    `values` are the columns of its header, and under the name of each other table a list of rows.
    The quarantined row keeps its values. Effects: the sale, and the row is closed, in one
    transaction. Errors: EventRefused with the broken rule; ChangedMeanwhile.
    """
    with transaction.atomic():
        row = lock_row(case)
        if row is None or row.table != HEADER.event:
            raise ChangedMeanwhile
        refuse_unknown_account(row.database, values.get("account_number"))
        made = replace_document(row, values, by=by)
        supersede_row(row.pk, made, by)
        return made


def lock_row(case: str) -> Quarantine | None:
    numbers, _ = split_ids([case])
    rows = Quarantine.objects.open().select_related("database__channel__company")
    return rows.select_for_update(of=("self",)).filter(pk__in=numbers).first()


def lock_case(case: str) -> LockedCase:
    """Lock an open case of an event. Errors: ChangedMeanwhile."""
    if row := lock_row(case):
        kind = event_kind_of(row.table)
        if kind is None:
            raise ChangedMeanwhile
        return LockedCase(kind, row.database, row=row)
    _, event_ids = split_ids([case])
    for kind in EVENT_KINDS:
        failed = OpenEvent.objects.failed().select_for_update()
        locked = failed.filter(table=kind.event, event_id__in=event_ids).first()
        if locked is None:
            continue
        event = STAGING_MODELS[kind.name].objects.get(pk=locked.event_id)
        if database_id := event.database_id or event.for_database_id:
            database = ChannelDatabase.objects.with_channel().get(pk=database_id)
            return LockedCase(kind, database, event=event)
    raise ChangedMeanwhile


def supersede_row(number: int, made: UUID, by: Any) -> None:
    row = Quarantine.objects.filter(pk=number)
    settle(row, QuarantineStatus.SUPERSEDED, by=by, because=CORRECTED_MESSAGE, became=made)


def supersede_event(kind: EventKind, event: Any) -> None:
    """Settle a failed event, which an event made at HQ replaces."""
    OpenEvent.objects.filter(table=kind.event, event_id=event.pk).delete()
    SettledEvent.objects.create(
        table=kind.event,
        event_id=event.pk,
        batch_id=event.batch_id,
        outcome=SettledOutcome.SUPERSEDED,
        reason="corrected",
    )


def refuse_unknown_account(database: ChannelDatabase, account: str | None) -> None:
    """Refuse an account number that the company does not have. Errors: EventRefused."""
    company = database.channel.company
    if account and not Customer.objects.filter(company=company, account_number=account).exists():
        allowed = f"an account of {company.pk}"
        raise EventRefused([Rule("company_mismatch", "account_number", "", allowed)])
