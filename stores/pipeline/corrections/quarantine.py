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
from stores.pipeline.corrections.events import EventRefused, make_event
from stores.pipeline.corrections.restage import keep_open, make_document, restage, restage_documents
from stores.pipeline.events.document_tables import HEADER
from stores.pipeline.events.kinds import KINDS, Kind
from stores.pipeline.events.rules import STAGED, Rule
from stores.pipeline.upload.quarantine import Arrival

# Rows that one transaction settles.
CHUNK = 1_000
CORRECTED = "Corrected at headquarters."


class ChangedMeanwhile(Exception):
    """Somebody has settled the row meanwhile."""


@dataclass
class Settled:
    """What became of the rows asked for; `left` are still open, with the reason of today."""

    done: int = 0
    left: list[str] = field(default_factory=list)

    def __add__(self, other: "Settled") -> "Settled":
        return Settled(self.done + other.done, self.left + other.left)


def alike(cause: Cause, *, statuses: Sequence[str] = UNSETTLED_STATUSES) -> Iterator[list[str]]:
    """The cases of a cause, in portions, read while earlier ones are being settled."""
    last = ""
    while True:
        meant = Case.objects.filter(status__in=statuses).with_cause(cause)
        rows = meant.filter(id__gt=last).order_by("id")
        found = list(rows.values_list("id", flat=True)[:CHUNK])
        if not found:
            return
        last = found[-1]
        yield found


# ----------------------------------------------------------------------- release


def release(cases: Sequence[str], *, by: Any = None, because: str = "") -> Settled:
    """Judge rows by today's rules and definitions again, and stage those that pass.

    Failed events become pending again; what only waits is left alone. Effects: staging and
    quarantine, a transaction for each thousand.
    """
    settled = Settled()
    numbers, events = parted(cases)
    for some in portions(numbers):
        with transaction.atomic():
            work = partial(release_quarantined, some, by=by, because=because or "Released.")
            done, refused = bisect_rows(work, lambda: some)  # noqa: B023 - called here and now
        settled += sum(done, Settled(left=list(map(str, refused))))
    for some_events in portions(events):
        settled.done += retry_failed(some_events)
    settled.left += open_among(events)
    return settled


def parted(cases: Sequence[str]) -> tuple[list[int], list[UUID]]:
    """Numbers of quarantined rows, and ids of staged events."""
    numbers = [int(case) for case in cases if case.isdecimal()]
    return numbers, [UUID(case) for case in cases if not case.isdecimal()]


def portions(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (items[start : start + CHUNK] for start in range(0, len(items), CHUNK))


def open_among(events: Sequence[UUID]) -> list[str]:
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
        for model in STAGED.values()
    )


def release_quarantined(
    numbers: Sequence[int], some: Sequence[int] | None, *, by: Any, because: str
) -> Settled:
    """Release open rows of quarantine, or some of them, those of one database and table together.

    All or none: the database may refuse one.
    """
    settled = Settled()

    def place(row: Quarantine) -> tuple[Any, ...]:
        return row.database_id, row.table, row.generation

    asked = Quarantine.objects.open().filter(pk__in=numbers if some is None else some)
    rows = asked.select_related("database__channel")
    locked = rows.select_for_update(of=("self",)).order_by("database", "table", "generation", "pk")
    for (_, table, generation), group in groupby(locked, key=place):
        found = list(group)
        arrival = Arrival(found[0].database, None, generation)
        kind = next((kind for kind in KINDS if kind.event == table), None)
        left = restage(arrival, kind, found) if kind else restage_documents(arrival, found)
        keep_open(kind or HEADER, left)
        passed = [row.pk for row in found if row.pk not in left]
        Quarantine.objects.filter(pk__in=passed).update(
            status=QuarantineStatus.RELEASED,
            settled_at=Now(),
            settled_by=by,
            settled_because=because,
            became=F("event_id"),
        )
        settled += Settled(len(passed), list(map(str, left)))
    return settled


# ----------------------------------------------------------------------- dismiss


def dismiss(cases: Sequence[str], *, by: Any = None, because: str) -> Settled:
    """Close rows of quarantine until somebody reopens them. Staged events cannot be dismissed.

    Effects: quarantine, a statement for each thousand.
    """
    numbers, events = parted(cases)
    settled = Settled(left=open_among(events))
    for some in portions(numbers):
        settled.done += (
            Quarantine.objects.open()
            .filter(pk__in=some)
            .update(
                status=QuarantineStatus.DISMISSED,
                settled_at=Now(),
                settled_by=by,
                settled_because=because,
            )
        )
    return settled


def reopen(cases: Sequence[str]) -> int:
    """Open dismissed rows again; who had dismissed them and why stays with them. Returns how many.

    Effects: quarantine, a statement for each thousand.
    """
    numbers, _ = parted(cases)
    done = 0
    for some in portions(numbers):
        dismissed = Quarantine.objects.filter(pk__in=some, status=QuarantineStatus.DISMISSED)
        done += dismissed.update(status=QuarantineStatus.OPEN, settled_at=None)
    return done


# ----------------------------------------------------------------------- correct


def correct(case: str, values: Mapping[str, Any], *, by: Any = None) -> UUID:
    """Make an event of HQ that says what the row should have said. Returns its id.

    The row stays as it came. Effects: one event in staging and the row, in one transaction.
    Errors: EventRefused with the broken rules; ChangedMeanwhile when the row is settled already.
    """
    with transaction.atomic():
        kind, database, settle = locked_case(case)
        refuse_unknown_account(database, values.get("account_number"))
        company = database.channel.company
        made = make_event(company, kind, values, by=by, corrects=case, for_database=database)
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
        made = make_document(row, values, by=by)
        supersede(row.pk, made, by)
        return made


def locked_row(case: str) -> Quarantine | None:
    """The open row of quarantine that a case names, locked."""
    numbers, _ = parted([case])
    rows = Quarantine.objects.open().select_related("database__channel__company")
    return rows.select_for_update(of=("self",)).filter(pk__in=numbers).first()


def locked_case(case: str) -> tuple[Kind, ChannelDatabase, Any]:
    """The kind and database of an open case, locked, and what settles it."""
    _, events = parted([case])
    if row := locked_row(case):
        kind = next((kind for kind in KINDS if kind.event == row.table), None)
        if kind is None:
            raise ChangedMeanwhile
        return kind, row.database, lambda made, by: supersede(row.pk, made, by)
    for kind in KINDS if events else ():
        found = STAGED[kind.name].objects.filter(Q(pk=events[0]), status=StagingStatus.FAILED)
        event = found.select_for_update().first()
        if event and (database_id := event.database_id or event.for_database_id):
            database = ChannelDatabase.objects.with_channel().get(pk=database_id)
            return kind, database, lambda made, by: found.update(**REPLACED)  # noqa: B023
    raise ChangedMeanwhile


REPLACED = {"status": StagingStatus.SUPERSEDED, "reason": "corrected", "field": None}


def supersede(number: int, made: UUID, by: Any) -> None:
    """Close a quarantined row whose place an event of HQ takes."""
    Quarantine.objects.filter(pk=number).update(
        status=QuarantineStatus.SUPERSEDED,
        settled_at=Now(),
        settled_by=by,
        settled_because=CORRECTED,
        became=made,
    )


def refuse_unknown_account(database: ChannelDatabase, account: str | None) -> None:
    """A person who types an account means one that is there. Errors: EventRefused."""
    company = database.channel.company
    known = Customer.objects.filter(company=company, account_number=account or "")
    if account and not known.exists():
        allows = f"an account of {company.pk}"
        raise EventRefused([Rule("company_mismatch", "account_number", "", allows)])
