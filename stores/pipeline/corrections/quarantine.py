"""Settle the rows that headquarters could not use: release, dismiss or correct them.

Such a row is a case. A case id is either the number of a quarantined row, or the id of an event
that is in staging and failed, or still waits. Releasing a row stages it again, or tries the event
again; dismissing closes it; correcting replaces it by an event or a sale made at HQ.
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
    """How many cases were settled, and the ids of those that are still open."""

    done: int = 0
    still_open: list[str] = field(default_factory=list)

    def __add__(self, other: "Resolution") -> "Resolution":
        return Resolution(self.done + other.done, self.still_open + other.still_open)


def same_cause(
    cause: Cause, *, statuses: Sequence[str] = UNSETTLED_STATUSES
) -> Iterator[list[str]]:
    """Yield the ids of the cases with a cause, in batches. The caller may settle each batch."""
    cases = Case.objects.filter(status__in=statuses).with_cause(cause).order_by("id")
    last = ""
    while batch := list(cases.filter(id__gt=last).values_list("id", flat=True)[:CASES_PER_CHUNK]):
        yield batch
        last = batch[-1]


def split_ids(cases: Sequence[str]) -> tuple[list[int], list[UUID]]:
    """Return the numbers of quarantined rows, and the ids of events, among the case ids."""
    numbers = [int(case) for case in cases if case.isdecimal()]
    return numbers, [UUID(case) for case in cases if not case.isdecimal()]


def unsettled_events(events: Sequence[UUID]) -> list[str]:
    """Return the case ids of those events that failed or are still waiting."""
    cases = Case.objects.unsettled().filter(id__in=[str(event) for event in events])
    return list(cases.values_list("id", flat=True))


def release_rows(cases: Sequence[str], *, by: Any = None, because: str = "") -> Resolution:
    """Stage the quarantined rows that pass the present rules, and let failed events be tried again.

    Events that wait stay as they are. Each batch is one transaction.
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
    """Release quarantined rows. A row that the database refuses stays open."""
    released, refused = bisect_keys(partial(release_together, by=by, because=because), numbers)
    return sum(released, Resolution(still_open=[str(number) for number in refused]))


def release_together(numbers: Sequence[int], *, by: Any, because: str) -> Resolution:
    """Release quarantined rows, in groups of the same database, table and generation."""
    resolution = Resolution()
    rows = Quarantine.objects.open().filter(pk__in=numbers).select_related("database__channel")
    locked = rows.select_for_update(of=("self",)).order_by("database", "table", "generation", "pk")
    for _, group in groupby(locked, key=attrgetter("database_id", "table", "generation")):
        resolution += release_group(list(group), by=by, because=because)
    return resolution


def release_group(rows: Sequence[Quarantine], *, by: Any, because: str) -> Resolution:
    """Release rows of one database and table."""
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
    """Close quarantined rows. Return how many. `became` is the event that each has become."""
    return rows.update(
        status=status, settled_at=Now(), settled_by=by, settled_because=because, became=became
    )


def event_kind_of(table: str) -> EventKind | None:
    """Return the kind of the events of a table, or None for the table of sales."""
    return next((kind for kind in EVENT_KINDS if kind.event == table), None)


def retry_failed(events: Sequence[UUID]) -> int:
    """Let the next conversion try failed events again. Return how many."""
    failed = OpenEvent.objects.failed().filter(event_id__in=events)
    return failed.update(status=OpenStatus.WAITING, reason=None, field=None, released_at=Now())


def dismiss_rows(cases: Sequence[str], *, by: Any = None, because: str) -> Resolution:
    """Close quarantined rows until a person reopens them. Events cannot be dismissed."""
    numbers, events = split_ids(cases)
    resolution = Resolution(still_open=unsettled_events(events))
    for batch in batched(numbers, CASES_PER_CHUNK):
        rows = Quarantine.objects.open().filter(pk__in=batch)
        resolution.done += settle(rows, QuarantineStatus.DISMISSED, by=by, because=because)
    return resolution


def reopen_rows(cases: Sequence[str]) -> int:
    """Open dismissed rows again. Return how many. They keep who dismissed them, and why."""
    numbers, _ = split_ids(cases)
    reopened = 0
    for batch in batched(numbers, CASES_PER_CHUNK):
        dismissed = Quarantine.objects.filter(pk__in=batch, status=QuarantineStatus.DISMISSED)
        reopened += dismissed.update(status=QuarantineStatus.OPEN, settled_at=None)
    return reopened


def correct_event(case: str, values: Mapping[str, Any], *, by: Any = None) -> UUID:
    """Stage an event with the values that the row should have had, and close the case.

    Return the id of the event. The row keeps its values. Raise EventRefused if the event breaks
    rules, ChangedMeanwhile if the case is not open.
    """
    with transaction.atomic():
        row = lock_row(case)
        if row:
            failed, kind, database = None, event_kind_of(row.table), row.database
            if kind is None:
                raise ChangedMeanwhile
        else:
            failed, kind = lock_failed_event(case)
            database_id = failed.database_id or failed.for_database_id
            database = ChannelDatabase.objects.with_channel().get(pk=database_id)
        refuse_unknown_account(database, values.get("account_number"))
        made = create_event(
            database.channel.company, kind, values, by=by, corrects=case, for_database=database
        )
        if row:
            supersede_row(row.pk, made, by)
        else:
            supersede_event(kind, failed)
        return made


def correct_document(case: str, values: Mapping[str, Any], *, by: Any = None) -> UUID:
    """Stage a sale with the values that the quarantined sale should have had, and close the case.

    `values` are the columns of its header, and under the name of each other table a list of rows.
    Return the event id of the sale. Raise EventRefused if the sale breaks a rule, ChangedMeanwhile
    if the case is not open.
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
    """Lock the quarantined row of an open case, if it has one."""
    numbers, _ = split_ids([case])
    rows = Quarantine.objects.open().select_related("database__channel__company")
    return rows.select_for_update(of=("self",)).filter(pk__in=numbers).first()


def lock_failed_event(case: str) -> tuple[Any, EventKind]:
    """Lock the failed event of a case, of a channel. Raise ChangedMeanwhile if there is none."""
    _, event_ids = split_ids([case])
    for kind in EVENT_KINDS:
        failed = OpenEvent.objects.failed().select_for_update()
        if locked := failed.filter(table=kind.event, event_id__in=event_ids).first():
            event = STAGING_MODELS[kind.noun].objects.get(pk=locked.event_id)
            if event.database_id or event.for_database_id:
                return event, kind
    raise ChangedMeanwhile


def supersede_row(number: int, made: UUID, by: Any) -> None:
    row = Quarantine.objects.filter(pk=number)
    settle(row, QuarantineStatus.SUPERSEDED, by=by, because=CORRECTED_MESSAGE, became=made)


def supersede_event(kind: EventKind, event: Any) -> None:
    """Settle a failed event that an event made at HQ replaces."""
    OpenEvent.objects.filter(table=kind.event, event_id=event.pk).delete()
    SettledEvent.objects.create(
        table=kind.event,
        event_id=event.pk,
        batch_id=event.batch_id,
        outcome=SettledOutcome.SUPERSEDED,
        reason="corrected",
    )


def refuse_unknown_account(database: ChannelDatabase, account: str | None) -> None:
    """Raise EventRefused if the company does not have the account number."""
    company = database.channel.company
    if account and not Customer.objects.filter(company=company, account_number=account).exists():
        allowed = f"an account of {company.pk}"
        raise EventRefused([Rule("company_mismatch", "account_number", "", allowed)])
