"""How each channel database is served: on time, delayed, late, or in need of a person.

Three things wait at a database: its events for the next visit, what it sent for conversion, and the
customers that it lacks for a download. Schedules promise when each is done: at their next start for
its channel. What has missed one start is delayed, and late after two. A database that only a person
can help needs one, whatever its schedules do.

Nothing of this is stored: it follows from the schedules, and from rows that say since when
something waits. Nothing waits for longer than its database has been served: since it was added,
switched on, resumed or included again.
"""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from operator import itemgetter
from uuid import UUID

from django.db.models import TextChoices
from django.utils import timezone

from stores.hqdb.sql import fetch
from stores.jobs.catalog import JOBS
from stores.messages.labels import duration_words
from stores.models import ChannelDatabase, ExcludedDatabase, Schedule
from stores.models.error_cause import PASSING, ErrorCause, cause_of
from stores.models.incident import BLOCKS_DATABASE, IncidentKind
from stores.models.job import JobCode, StepCode
from stores.pipeline.download.sessions import suspended_in_strict_order


class Timeliness(TextChoices):
    """How well a database is served, the better first."""

    ON_TIME = "on_time", "On time"
    DELAYED = "delayed", "Delayed"
    LATE = "late", "Late"
    NEEDS_YOU = "needs_you", "Needs you"


class Waiting(TextChoices):
    """What waits at a database. The label is said of a length of time."""

    VISIT = "visit", "Not visited for {}."
    CONVERSION = "conversion", "Events uploaded {} ago are not converted yet."
    DELIVERY = "delivery", "Customers have waited {} for delivery."


STEPS = {
    Waiting.VISIT: StepCode.UPLOAD,
    Waiting.CONVERSION: StepCode.CONVERT,
    Waiting.DELIVERY: StepCode.DOWNLOAD,
}


class Need(TextChoices):
    """What only a person can settle."""

    INCIDENT = "incident", "Incident open"
    UPLOADS_PAUSED = "uploads_paused", "Uploads paused"
    DOWNLOADS_PAUSED = "downloads_paused", "Downloads paused"
    DOWNLOADS_SUSPENDED = "downloads_suspended", "Downloads suspended"
    ERROR = "error", "Error"
    NOT_SCHEDULED = "not_scheduled", "No schedule"


@dataclass(frozen=True)
class Item:
    """The oldest of what waits at a database."""

    what: Waiting
    since: datetime
    now: datetime
    timeliness: Timeliness

    @property
    def age(self) -> timedelta:
        # A clock that was ahead can have left times in the future.
        return max(self.now - self.since, timedelta())

    @property
    def sentence(self) -> str:
        return str(self.what.label).format(duration_words(self.age))


@dataclass(frozen=True)
class ChannelStatus:
    """How a database is served. Nothing is promised to one that is switched off."""

    timeliness: Timeliness | None = None
    needs: tuple[Need, ...] = ()
    # What waits, the oldest first.
    items: tuple[Item, ...] = ()
    cause: ErrorCause | None = None
    # The oldest incident that is open, first of those that stop visits, and a suspended download.
    incident: int | None = None
    incident_kind: str = ""
    suspended_by: UUID | None = None
    # The steps that no schedule does for it.
    unscheduled: tuple[StepCode, ...] = ()

    @property
    def overdue(self) -> list[Item]:
        """What waits for longer than was promised."""
        return [item for item in self.items if item.timeliness != Timeliness.ON_TIME]

    @property
    def lag(self) -> timedelta | None:
        """For how long headquarters and the database may have differed."""
        return self.items[0].age if self.items else None

    @property
    def lag_minutes(self) -> int | None:
        return None if self.lag is None else int(self.lag.total_seconds() // 60)

    @property
    def uncovered(self) -> str:
        return ", ".join(str(step.label).lower() for step in self.unscheduled)

    @property
    def is_blocked(self) -> bool:
        """Whether an incident stops all visits."""
        return self.incident_kind in BLOCKS_DATABASE

    @property
    def incident_title(self) -> str:
        return str(IncidentKind(self.incident_kind).label) if self.incident_kind else ""


def channel_statuses(databases: Iterable[ChannelDatabase]) -> dict[int, ChannelStatus]:
    """The status of each database by its id; as many queries for one as for a thousand."""
    databases = list(databases)
    visited = [database for database in databases if database.is_visited]
    statuses = {database.pk: ChannelStatus() for database in databases}
    if visited:
        statuses |= statuses_of_visited(visited)
    return statuses


def status_word(database: ChannelDatabase, status: ChannelStatus) -> str:
    """How a database is served, in a word, or why nothing is promised to it."""
    if status.timeliness:
        return str(status.timeliness.label)
    return "Archived" if database.channel.is_archived else "Switched off"


def statuses_of_visited(databases: Sequence[ChannelDatabase]) -> dict[int, ChannelStatus]:
    coverage, facts = Coverage(timezone.now()), read_facts(databases)
    return {
        database.pk: status_of(database, facts[database.pk], coverage) for database in databases
    }


def status_of(database: ChannelDatabase, known: "Facts", coverage: "Coverage") -> ChannelStatus:
    items = tuple(
        Item(what, since, coverage.now, coverage.timeliness(STEPS[what], database, since))
        for what, since in sorted(since_when(database, known).items(), key=itemgetter(1))
    )
    unscheduled = tuple(
        step
        for step in STEPS.values()
        if (known.is_sent_customers or step != StepCode.DOWNLOAD)
        and not coverage.covers(step, database)
    )
    cause = cause_of(database.last_error)
    present = {
        Need.INCIDENT: known.incident is not None,
        Need.UPLOADS_PAUSED: database.uploads_paused,
        Need.DOWNLOADS_PAUSED: database.downloads_paused,
        Need.DOWNLOADS_SUSPENDED: known.suspended_by is not None,
        Need.ERROR: cause is not None and cause not in PASSING,
        Need.NOT_SCHEDULED: bool(unscheduled),
    }
    needs = tuple(need for need, is_present in present.items() if is_present)
    found = {item.timeliness for item in items}
    return ChannelStatus(
        Timeliness.NEEDS_YOU if needs else worst(found),
        needs,
        items,
        cause,
        known.incident,
        known.incident_kind or "",
        known.suspended_by,
        unscheduled,
    )


def worst(found: Collection[Timeliness]) -> Timeliness:
    for timeliness in (Timeliness.LATE, Timeliness.DELAYED):
        if timeliness in found:
            return timeliness
    return Timeliness.ON_TIME


def since_when(database: ChannelDatabase, known: "Facts") -> dict[Waiting, datetime]:
    """Since when each thing waits. What a person has paused waits for that person."""
    waiting: dict[Waiting, datetime] = {}
    if not database.uploads_paused:
        waiting[Waiting.VISIT] = unvisited_since(database)
    if known.staged_at:
        waiting[Waiting.CONVERSION] = known.staged_at
    lacking = [moment for moment in (known.changed_at, known.lacking_since) if moment]
    if lacking and known.is_sent_customers and not database.downloads_paused:
        waiting[Waiting.DELIVERY] = max(min(lacking), delivered_since(database))
    return waiting


def unvisited_since(database: ChannelDatabase) -> datetime:
    """The last visit that fetched what there was, or since when there should have been one."""
    visited_at = database.last_visited_at or database.added_at
    if database.failing_since and database.failed_step == StepCode.UPLOAD:
        # Other steps may have visited it since.
        visited_at = min(visited_at, database.failing_since)
    return latest(visited_at, database.uploads_resumed_at, database.switched_on_at)


def delivered_since(database: ChannelDatabase) -> datetime:
    """Since when HQ promises it deliveries: what is older was promised from then on."""
    since = (database.downloads_resumed_at, database.switched_on_at, database.included_at)
    return latest(database.added_at, *since)


def latest(moment: datetime, *others: datetime | None) -> datetime:
    return max([moment, *(other for other in others if other)])


@dataclass(frozen=True)
class Facts:
    """What HQ has of a database in other tables."""

    # When the oldest event that waits for its conversion was uploaded.
    staged_at: datetime | None
    # When the first customer changed whose change the database lacks.
    changed_at: datetime | None
    # Since when it lacks a customer that it has refused or lost.
    lacking_since: datetime | None
    incident: int | None
    incident_kind: str | None
    suspended_by: UUID | None
    is_sent_customers: bool


def read_facts(databases: Sequence[ChannelDatabase]) -> dict[int, Facts]:
    """Read what HQ has of each database, by its id, in as many queries for one as for all."""
    left_out = ExcludedDatabase.objects.from_job(JobCode.DOWNLOAD)
    suspended: dict[int, UUID] = {}
    if any(database.strict_order for database in databases):
        suspended = dict(suspended_in_strict_order().values_list("database_id", "pk"))
    rows = fetch(
        """WITH base AS (
             SELECT channel_database.id, channel.company_id,
                    greatest(position, received_no) AS received
               FROM channel_database JOIN channel ON channel.id = channel_id
              WHERE channel_database.id = ANY(%(databases)s)),
           -- Most databases of a company have received the same.
           reached AS (SELECT DISTINCT company_id, received FROM base),
           changed AS (
             SELECT reached.*,
                    (SELECT modified_at FROM customer
                      WHERE customer.company_id = reached.company_id
                        AND customer.change_no > reached.received
                      ORDER BY customer.change_no LIMIT 1) AS changed_at
               FROM reached),
           staged AS (
             SELECT database_id, min(staged_at) AS staged_at FROM upload_batch
              WHERE converted_at IS NULL GROUP BY database_id),
           lacking AS (
             SELECT database_id, min(since) AS since FROM download_exception
              WHERE settled_at IS NULL AND reason <> 'requested' GROUP BY database_id),
           incidents AS (
             SELECT DISTINCT ON (database_id) database_id, id, kind FROM incident
              WHERE closed_at IS NULL AND database_id IS NOT NULL
              ORDER BY database_id, kind <> ALL(%(blocking)s), id)
           SELECT base.id, staged.staged_at, changed.changed_at, lacking.since,
                  incidents.id, incidents.kind
             FROM base JOIN changed USING (company_id, received)
             LEFT JOIN staged ON staged.database_id = base.id
             LEFT JOIN lacking ON lacking.database_id = base.id
             LEFT JOIN incidents ON incidents.database_id = base.id""",
        {
            "databases": [database.pk for database in databases],
            "blocking": [kind.value for kind in BLOCKS_DATABASE],
        },
    )
    return {
        row[0]: Facts(
            staged_at=row[1],
            changed_at=row[2],
            lacking_since=row[3],
            incident=row[4],
            incident_kind=row[5],
            suspended_by=suspended.get(row[0]),
            is_sent_customers=row[0] not in left_out,
        )
        for row in rows
    }


@dataclass(frozen=True)
class Covering:
    """The steps that a schedule does, for which channels (None: all), and what missed its starts.

    What waits since before `once` has missed one, and since before `twice` two.
    """

    steps: frozenset[StepCode]
    channels: frozenset[int] | None
    once: datetime | None
    twice: datetime | None

    def covers(self, step: StepCode, channel: int) -> bool:
        return step in self.steps and (self.channels is None or channel in self.channels)


class Coverage:
    """Which schedules do a step for a channel, and what has missed their starts."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.coverings = list(coverings(now))
        self.coverings_of = cache(self.find_coverings)

    def covers(self, step: StepCode, database: ChannelDatabase) -> bool:
        return bool(self.coverings_of(step, database.channel_id))

    def timeliness(self, step: StepCode, database: ChannelDatabase, since: datetime) -> Timeliness:
        """How well what waits since a moment is served, by the schedule that promises most."""
        covering = self.coverings_of(step, database.channel_id)
        if any(row.twice and since < row.twice for row in covering):
            return Timeliness.LATE
        if any(row.once and since < row.once for row in covering):
            return Timeliness.DELAYED
        return Timeliness.ON_TIME

    def find_coverings(self, step: StepCode, channel: int) -> list[Covering]:
        return [covering for covering in self.coverings if covering.covers(step, channel)]


def coverings(now: datetime) -> Iterator[Covering]:
    schedules = [
        (schedule, frozenset(step.code for step in JOBS[schedule.job].steps))
        for schedule in Schedule.objects.active().with_details()
    ]
    schedules = [(row, steps) for row, steps in schedules if steps & set(STEPS.values())]
    channels = dict(channels_of([schedule for schedule, _ in schedules]))
    for schedule, steps in schedules:
        own = None if schedule.is_for_all else frozenset(channels[schedule.pk])
        yield Covering(steps, own, *schedule.missed_before(now))


def channels_of(schedules: Sequence[Schedule]) -> Iterator[tuple[int, set[int]]]:
    """The channels of each schedule by its id, also those that have a database in its groups."""
    groups = {group.pk for schedule in schedules for group in schedule.groups.all()}
    members: list[tuple[int, int]] = []
    if groups:
        enabled = ChannelDatabase.objects.filter(group__in=groups, is_enabled=True)
        members = list(enabled.values_list("group", "channel"))
    for schedule in schedules:
        own = {channel.pk for channel in schedule.channels.all()}
        in_groups = {group.pk for group in schedule.groups.all()}
        yield schedule.pk, own | {channel for group, channel in members if group in in_groups}
