"""P-0001: upload the events of a channel database to HQ's staging.

Events are read in *batches*. HQ stages the events of a batch that it can use, quarantines the
others, and commits. Then the channel acknowledges exactly these: it will not send them again. A
crash in between repeats one batch, and HQ finds that it knows all of its events.
"""

import json
from collections.abc import Iterator, Sequence, Set
from dataclasses import replace
from typing import TypeAlias

from django.db.models import F
from django.db.models.functions import Now

from stores.channeldb.errors import ChannelError
from stores.channeldb.exchange.protocol import EventBatch
from stores.failpoints import failpoint
from stores.hqdb.retry import bisect_rows, self_committing
from stores.hqdb.sql import run_sql
from stores.messages.message import Message
from stores.models import ChannelDatabase, Incident, RunStep, UploadSession
from stores.models.incident import IncidentKind
from stores.models.run import RunCancelled
from stores.models.session import UploadStatus
from stores.pipeline.chunk_sizes import EVENTS_PER_CHUNK
from stores.pipeline.events.document_tables import HEADER
from stores.pipeline.events.tables import STAGED_TABLES, UPLOAD_SOURCES
from stores.pipeline.fence.visit import FencedChannel, enter
from stores.pipeline.refused_rows import report_refused_rows
from stores.pipeline.upload.batches import close_batch, open_batch
from stores.pipeline.upload.event_rows import counters_of
from stores.pipeline.upload.quarantine import StagingCounts, UploadSource
from stores.pipeline.upload.tables import stage_events

# If an upload quarantines so many rows, it is no slip of a till, and a person should know.
FLOOD_ROWS = 1_000
# The message of the database for each row that it refuses. A row is named by table and counter.
RowKey: TypeAlias = tuple[str, int]
RefusedRows: TypeAlias = dict[RowKey, str]
TABLES = {table.event: table for table in STAGED_TABLES}


def upload_events(step: RunStep) -> None:
    """Stage the events that the channel database has not acknowledged, oldest first.

    While a person has paused this, the database is not opened. Effects: staging, quarantine, upload
    session and counts in HQ, one transaction for each batch; after it, acknowledged_at in the
    channel. Raises ChannelError if the channel cannot be visited any longer; what was committed
    stays.
    """
    session: UploadSession | None = None
    refused: RefusedRows = {}
    if is_paused(step.its_database):
        return
    try:
        with enter(step) as channel:
            for number, batch in enumerate(read_batches(step, channel, refused), 1):
                with step.chunk():
                    session = session or open_session(step)
                    refused.update(stage_tables(step, channel, session, number, batch))
                    save_counters(step.its_database, batch)
                    failpoint("upload:before_hq_commit")
                failpoint("upload:after_hq_commit")
            if not step.is_dry:
                channel.write_issued()
    except Exception as error:
        if session:
            fail_upload(session, error)
        raise
    if session:
        UploadSession.objects.filter(pk=session.pk).update(
            status=UploadStatus.APPLIED, applied_at=Now()
        )
        report_flood(step)
        with step.chunk():
            report_refused_rows("events", Message("events"), refused, database=step.its_database)


def read_batches(
    step: RunStep, channel: FencedChannel, refused: RefusedRows
) -> Iterator[list[EventBatch]]:
    """Yield batch after batch, which the caller commits, and acknowledge each in the channel.

    Ends when nothing is left, the time slice of the step is used, or a person pauses it. A dry run
    acknowledges nothing. Effects: acknowledged_at in the channel; incidents about events that are
    too large to be read, or were deleted in between. Rows that the channel refuses to update go to
    `refused`.
    """
    beyond: dict[str, int] = {}
    while True:
        read = channel.read_events(UPLOAD_SOURCES, limit=EVENTS_PER_CHUNK, beyond=beyond)
        batch = [events for events in read if events.total]
        if not batch:
            oversized = {events.table: events.oversized for events in read if events.oversized}
            report_oversized(step, oversized)
            return
        if not step.is_dry:
            # It has to happen before the batch is staged: see FencedChannel.acquire().
            channel.acquire()
        yield batch
        if not step.is_dry:
            vanished = acknowledge(channel, batch, refused)
            failpoint("upload:after_acknowledge")
            report_vanished(step, vanished)
            if step.time_slice_used or is_paused(step.its_database):
                return
        skipped = [events for events in batch if events.waiting or step.is_dry]
        beyond |= {events.table: events.last_counter for events in skipped}


def is_paused(database: ChannelDatabase) -> bool:
    """Whether a person has paused uploads from the database by now."""
    database.refresh_from_db(fields=["uploads_paused_at"])
    return database.uploads_paused


def stage_tables(
    step: RunStep,
    channel: FencedChannel,
    session: UploadSession,
    number: int,
    tables: Sequence[EventBatch],
) -> RefusedRows:
    """Stage the rows that were read of all tables, as one batch of the session.

    Returns the rows that HQ's database refuses both in staging and in quarantine.
    """
    database = session.database
    company = database.channel.company
    batch_id = open_batch(company, database=database, session=session, number=number)
    accounts_of = channel.channel.accounts_of
    source = UploadSource(database, session, database.generation, batch_id, accounts_of)
    refused: RefusedRows = {}
    rows = 0
    for events in tables:
        result = stage_table(step, session, source, events)
        refused |= {(events.table, counter): text for counter, text in result.refused.items()}
        if events.table != HEADER.event:
            rows += result.staged + result.erased
    close_batch(batch_id, rows)
    return refused


def stage_table(
    step: RunStep, session: UploadSession, source: UploadSource, events: EventBatch
) -> StagingCounts:
    """Stage or quarantine the rows of one table, and count them.

    Rows that HQ's database refuses are left in the channel: they are added to `events.waiting`.
    """
    result = stage_events(source, TABLES[events.table], events)
    events.waiting = [*result.incomplete, *result.refused]
    done = result.staged + result.erased
    waiting = len(events.waiting)
    unchanged = events.total - done - result.quarantined - waiting
    UploadSession.objects.filter(pk=session.pk).update(
        status=UploadStatus.UPLOADED,
        parts=F("parts") + 1,
        size_bytes=F("size_bytes") + len(events.data) + sum(map(len, events.parts.values())),
        read=F("read") + events.total,
        staged=F("staged") + done,
        unchanged=F("unchanged") + unchanged,
        quarantined=F("quarantined") + result.quarantined,
        waiting=F("waiting") + waiting,
    )
    step.add(
        read=events.total,
        staged=result.staged,
        unchanged=unchanged,
        quarantined=result.quarantined,
        erased=result.erased,
        waiting=waiting,
    )
    return result


def save_counters(database: ChannelDatabase, batch: list[EventBatch]) -> None:
    """Save how far HQ has read each table of the database. The fence compares it at each visit."""
    run_sql(
        """UPDATE channel_database SET staged = staged || (
                  SELECT jsonb_object_agg(key, greatest(value::bigint,
                                                        (staged ->> key)::bigint))
                    FROM jsonb_each_text(%s::jsonb))
            WHERE id = %s AND generation = %s""",
        [
            json.dumps({events.table: events.last_counter for events in batch}),
            database.pk,
            database.generation,
        ],
    )


def acknowledge(
    channel: FencedChannel, batch: Sequence[EventBatch], refused: RefusedRows
) -> dict[str, int]:
    """Acknowledge a batch, without the rows that the channel refuses to update.

    These are added to `refused` and come again in each upload; HQ holds them. Returns the number of
    rows that are no longer in the channel, by table.
    """

    def acknowledge_rows(keys: Sequence[RowKey] | None) -> dict[str, int]:
        return channel.acknowledge(batch if keys is None else select_events(batch, set(keys)))

    def rows_to_acknowledge() -> list[RowKey]:
        return [
            (events.table, counter)
            for events in batch
            for counter in counters_of(TABLES[events.table], events)
            if counter not in events.waiting
        ]

    vanished, unmarked = bisect_rows(acknowledge_rows, rows_to_acknowledge, attempt=self_committing)
    for events in batch:
        events.waiting += [counter for table, counter in unmarked if table == events.table]
    refused.update(unmarked)
    # Each attempt counts all rows that have vanished from its tables.
    tables = {table for counts in vanished for table in counts}
    return {table: max(counts.get(table, 0) for counts in vanished) for table in tables}


def select_events(batch: Sequence[EventBatch], keys: Set[RowKey]) -> list[EventBatch]:
    """Return the batch with some of its rows only: all others are to wait."""
    selected = []
    for events in batch:
        counters = counters_of(TABLES[events.table], events)
        waiting = [counter for counter in counters if (events.table, counter) not in keys]
        if len(waiting) < len(counters):
            selected.append(replace(events, waiting=waiting))
    return selected


def report_oversized(step: RunStep, oversized: dict[str, list[int]]) -> None:
    """Open an incident about events that stay in the channel, because they are too large."""
    if oversized:
        with step.chunk():
            step.add(waiting=sum(map(len, oversized.values())))
            Incident.objects.report(
                IncidentKind.EVENT_TOO_LARGE,
                Message("event_too_large", channel=step.place, tables=list(oversized)),
                database=step.its_database,
                detail={"replication_counters": oversized},
            )


def report_vanished(step: RunStep, vanished: dict[str, int]) -> None:
    """Open an incident about events that were deleted after HQ had staged them."""
    if vanished:
        with step.chunk():
            Incident.objects.report(
                IncidentKind.EVENT_VANISHED,
                Message("events_deleted", channel=step.place, tables=list(vanished)),
                database=step.its_database,
                detail={"rows": vanished},
            )


def open_session(step: RunStep) -> UploadSession:
    """Create the record of this upload, once there is something to upload."""
    return UploadSession.objects.create(
        run=step.run, database=step.its_database, status=UploadStatus.AVAILABLE
    )


def fail_upload(session: UploadSession, error: Exception) -> None:
    """Save at the session how far the upload came."""
    present = UploadSession.objects.filter(pk=session.pk).first()
    if present is None:
        return  # It was rolled back with the first batch.
    if isinstance(error, RunCancelled):
        present.status = UploadStatus.CANCELED
    elif present.status == UploadStatus.UPLOADED:
        # HQ holds rows that the channel may not have acknowledged.
        present.status = UploadStatus.APPLY_FAILED
    else:
        present.status = UploadStatus.UPLOAD_FAILED
    # The message of a database driver may quote personal data.
    present.message = error.message if isinstance(error, ChannelError) else Message()
    present.save(update_fields=["status", "message"])


def report_flood(step: RunStep) -> None:
    """Open an incident if the upload has quarantined very many rows."""
    quarantined = step.counts.get("quarantined", 0)
    if quarantined >= FLOOD_ROWS:
        Incident.objects.report(
            IncidentKind.MANY_QUARANTINED,
            Message("rows_unusable", channel=step.place, count=quarantined),
            database=step.its_database,
            detail={"quarantined": quarantined},
        )
