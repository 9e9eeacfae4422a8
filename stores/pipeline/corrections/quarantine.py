"""What people do about rows that HQ could not use: release, correct, dismiss; one or all alike.

A row is named by its case: the number of a quarantined row, or the event id of a failed one.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now

from stores.hqdb.retry import bisect_rows
from stores.models import Case, ChannelDatabase, Customer, Quarantine
from stores.models.case import UNSETTLED_STATUSES, Cause
from stores.models.quarantine import QuarantineStatus
from stores.models.staging import StagingStatus
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
from stores.pipeline.upload.quarantine import UploadBatch

# Rows that one transaction settles.
CASES_PER_CHUNK = 1_000
CORRECTED_MESSAGE = "Corrected at headquarters."


class ChangedMeanwhile(Exception):
    """Somebody has settled the row meanwhile."""


@dataclass
class Resolution:
    """What became of the rows asked for; `still_open` are still open, with the reason of today."""

    done: int = 0
    still_open: list[str] = field(default_factory=list)

    def __add__(self, other: "Resolution") -> "Resolution":
        return Resolution(self.done + other.done, self.still_open + other.still_open)


def same_cause(
    cause: Cause, *, statuses: Sequence[str] = UNSETTLED_STATUSES
) -> Iterator[list[str]]:
    """The cases of a cause, in portions, read while earlier ones are being settled."""
    last = ""
    while True:
        selected = Case.objects.filter(status__in=statuses).with_cause(cause)
        rows = selected.filter(id__gt=last).order_by("id")
        case_ids = list(rows.values_list("id", flat=True)[:CASES_PER_CHUNK])
        if not case_ids:
            return
        last = case_ids[-1]
        yield case_ids


# ----------------------------------------------------------------------- release


def release_rows(cases: Sequence[str], *, by: Any = None, because: str = "") -> Resolution:
    """Judge rows by today's rules and definitions again, and stage those that pass.

    Failed events become pending again; what only waits is left alone. Effects: staging and
    quarantine, a transaction for each thousand.
    """
    resolution = Resolution()
    numbers, events = split_ids(cases)
    for batch in in_batches(numbers):
        with transaction.atomic():
            work = partial(release_quarantined, batch, by=by, because=because or "Released.")
            done, refused = bisect_rows(work, lambda: batch)  # noqa: B023 - called here and now
        resolution += sum(done, Resolution(still_open=list(map(str, refused))))
    for event_batch in in_batches(events):
        resolution.done += retry_failed(event_batch)
    resolution.still_open += unresolved(events)
    return resolution


def split_ids(cases: Sequence[str]) -> tuple[list[int], list[UUID]]:
    numbers = [int(case) for case in cases if case.isdecimal()]
    return numbers, [UUID(case) for case in cases if not case.isdecimal()]


def in_batches(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (
        items[start : start + CASES_PER_CHUNK] for start in range(0, len(items), CASES_PER_CHUNK)
    )


def unresolved(events: Sequence[UUID]) -> list[str]:
    """Those of the staged events that failed, or still wait."""
    return list(
        Case.objects.unsettled().filter(id__in=map(str, events)).values_list("id", flat=True)
    )


def retry_failed(events: Sequence[UUID]) -> int:
    """Make failed events pending, for the next conversion to try again. Returns how many."""
    return sum(
        model.objects.filter(pk__in=events, status=StagingStatus.FAILED).update(
            status=StagingStatus.PENDING, reason=None, field=None
        )
        for model in STAGING_MODELS.values()
    )


def release_quarantined(
    numbers: Sequence[int], selected: Sequence[int] | None, *, by: Any, because: str
) -> Resolution:
    """Release open rows of quarantine, or some of them, those of one database and table together.

    All or none: the database may refuse one.
    """
    resolution = Resolution()

    def place(row: Quarantine) -> tuple[Any, ...]:
        return row.database_id, row.table, row.generation

    asked = Quarantine.objects.open().filter(pk__in=numbers if selected is None else selected)
    rows = asked.select_related("database__channel")
    locked = rows.select_for_update(of=("self",)).order_by("database", "table", "generation", "pk")
    for (_, table, generation), group in groupby(locked, key=place):
        rows_of_table = list(group)
        upload = UploadBatch(rows_of_table[0].database, None, generation)
        kind = next((kind for kind in EVENT_KINDS if kind.event == table), None)
        failing = (
            restage(upload, kind, rows_of_table)
            if kind
            else restage_documents(upload, rows_of_table)
        )
        record_attempts(kind or HEADER, failing)
        passed = [row.pk for row in rows_of_table if row.pk not in failing]
        Quarantine.objects.filter(pk__in=passed).update(
            status=QuarantineStatus.RELEASED,
            settled_at=Now(),
            settled_by=by,
            settled_because=because,
            became=F("event_id"),
        )
        resolution += Resolution(len(passed), list(map(str, failing)))
    return resolution


# ----------------------------------------------------------------------- dismiss


def dismiss_rows(cases: Sequence[str], *, by: Any = None, because: str) -> Resolution:
    """Close rows of quarantine until somebody reopens them. Staged events cannot be dismissed.

    Effects: quarantine, a statement for each thousand.
    """
    numbers, events = split_ids(cases)
    resolution = Resolution(still_open=unresolved(events))
    for batch in in_batches(numbers):
        resolution.done += (
            Quarantine.objects.open()
            .filter(pk__in=batch)
            .update(
                status=QuarantineStatus.DISMISSED,
                settled_at=Now(),
                settled_by=by,
                settled_because=because,
            )
        )
    return resolution


def reopen_rows(cases: Sequence[str]) -> int:
    """Open dismissed rows again; who had dismissed them and why stays with them. Returns how many.

    Effects: quarantine, a statement for each thousand.
    """
    numbers, _ = split_ids(cases)
    done = 0
    for batch in in_batches(numbers):
        dismissed = Quarantine.objects.filter(pk__in=batch, status=QuarantineStatus.DISMISSED)
        done += dismissed.update(status=QuarantineStatus.OPEN, settled_at=None)
    return done


# ----------------------------------------------------------------------- correct


def correct_event(case: str, values: Mapping[str, Any], *, by: Any = None) -> UUID:
    """Make an event of HQ that says what the row should have said. Returns its id.

    The row stays as it came. Effects: one event in staging and the row, in one transaction.
    Errors: EventRefused with the broken rules; ChangedMeanwhile when the row is settled already.
    """
    with transaction.atomic():
        kind, database, settle = locked_case(case)
        refuse_unknown_account(database, values.get("account_number"))
        company = database.channel.company
        made = create_event(company, kind, values, by=by, corrects=case, for_database=database)
        settle(made, by)
        return made


def correct_document(case: str, values: Mapping[str, Any], *, by: Any = None) -> UUID:
    """Make a document of HQ that says what the quarantined one should have said. Returns its id.

    `values` are its header's columns, and under the name of each other table its rows. The row
    stays as it came. Effects: the document and the row, in one transaction. Errors: EventRefused
    with the broken rule; ChangedMeanwhile when the row is settled already.
    """
    with transaction.atomic():
        row = locked_row(case)
        if row is None or row.table != HEADER.event:
            raise ChangedMeanwhile
        refuse_unknown_account(row.database, values.get("account_number"))
        made = replace_document(row, values, by=by)
        supersede_row(row.pk, made, by)
        return made


def locked_row(case: str) -> Quarantine | None:
    """The open row of quarantine that a case names, locked."""
    numbers, _ = split_ids([case])
    rows = Quarantine.objects.open().select_related("database__channel__company")
    return rows.select_for_update(of=("self",)).filter(pk__in=numbers).first()


def locked_case(case: str) -> tuple[EventKind, ChannelDatabase, Any]:
    """The kind and database of an open case, locked, and what settles it."""
    _, events = split_ids([case])
    if row := locked_row(case):
        kind = next((kind for kind in EVENT_KINDS if kind.event == row.table), None)
        if kind is None:
            raise ChangedMeanwhile
        return kind, row.database, lambda made, by: supersede_row(row.pk, made, by)
    for kind in EVENT_KINDS if events else ():
        failed_events = STAGING_MODELS[kind.name].objects.filter(
            Q(pk=events[0]), status=StagingStatus.FAILED
        )
        event = failed_events.select_for_update().first()
        if event and (database_id := event.database_id or event.for_database_id):
            database = ChannelDatabase.objects.with_channel().get(pk=database_id)
            return kind, database, lambda made, by: failed_events.update(**CORRECTED_FIELDS)  # noqa: B023
    raise ChangedMeanwhile


CORRECTED_FIELDS = {"status": StagingStatus.SUPERSEDED, "reason": "corrected", "field": None}


def supersede_row(number: int, made: UUID, by: Any) -> None:
    """Close a quarantined row whose place an event of HQ takes."""
    Quarantine.objects.filter(pk=number).update(
        status=QuarantineStatus.SUPERSEDED,
        settled_at=Now(),
        settled_by=by,
        settled_because=CORRECTED_MESSAGE,
        became=made,
    )


def refuse_unknown_account(database: ChannelDatabase, account: str | None) -> None:
    """A person who types an account means one that is there. Errors: EventRefused."""
    company = database.channel.company
    known = Customer.objects.filter(company=company, account_number=account or "")
    if account and not known.exists():
        allows = f"an account of {company.pk}"
        raise EventRefused([Rule("company_mismatch", "account_number", "", allows)])
