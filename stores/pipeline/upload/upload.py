"""P-0001: channel -> staging.

HQ commits the events it could use and those it could not, then the channel may forget exactly
these. A crash in between repeats one batch, and the repetition finds every event known.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TypeAlias

from django.db.models import F
from django.db.models.functions import Now

from stores.channeldb.errors import ChannelError
from stores.channeldb.exchange.protocol import EventBatch
from stores.failpoints import failpoint
from stores.hqdb.retry import bisect_rows, self_committing
from stores.hqdb.sql import run_sql
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

# So many rows of one visit in quarantine are no till's slip: somebody should look at the channel.
FLOOD_ROWS = 1_000
# Rows that a database refuses, by table and counter, and what it said.
RefusedRows: TypeAlias = dict[tuple[str, int], str]
TABLES = {table.event: table for table in STAGED_TABLES}


def upload_events(step: RunStep) -> None:
    """Stage the channel database's unacknowledged events, oldest first.

    Effects: staging, quarantine, upload session and counts in HQ, a batch a transaction;
    acknowledged_at in the channel after each. Errors: ChannelError when the channel cannot be
    visited any more; what was committed stays.
    """
    session: UploadSession | None = None
    refused: RefusedRows = {}
    try:
        with enter(step) as channel:
            for number, batch in enumerate(read_batches(step, channel, refused), 1):
                with step.chunk():
                    session = session or open_session(step)
                    refused.update(stage_tables(step, channel, session, number, batch))
                    note_counters(step.its_database, batch)
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
            report_refused_rows("events", refused, database=step.its_database)


def read_batches(
    step: RunStep, channel: FencedChannel, refused: RefusedRows
) -> Iterator[list[EventBatch]]:
    """Read batch after batch; when the caller comes back, the batch is committed in HQ.

    Ends when nothing is left, or the channel has had its share. Effects: the channel marks each
    batch as held, unless the run is dry; incidents about events that are too large, or that
    vanished in between. `refused` gets the rows that it does not let itself mark.
    """
    beyond: dict[str, int] = {}
    while True:
        read = channel.read_events(UPLOAD_SOURCES, limit=EVENTS_PER_CHUNK, beyond=beyond)
        batch = [events for events in read if events.total]
        if not batch:
            report_oversized(
                step, {events.table: events.oversized for events in read if events.oversized}
            )
            return
        if not step.is_dry:
            # Before anything of the batch is staged: see FencedChannel.acquire.
            channel.acquire()
        yield batch
        if not step.is_dry:
            vanished = acknowledge(channel, batch, refused)
            failpoint("upload:after_acknowledge")
            report_vanished(step, vanished)
            if step.time_slice_used:
                return
        skipped = [events for events in batch if events.waiting or step.is_dry]
        beyond |= {events.table: events.last_counter for events in skipped}


def stage_tables(
    step: RunStep,
    channel: FencedChannel,
    session: UploadSession,
    number: int,
    tables: Sequence[EventBatch],
) -> RefusedRows:
    """Stage what was read, of all tables: its events are one batch of the session.

    Returns the rows that HQ's database takes neither into staging nor into quarantine.
    """
    database = session.database
    batch = open_batch(database.channel.company, database=database, session=session, number=number)
    source = UploadSource(
        database, session, database.generation, batch, channel.channel.accounts_of
    )
    refused: RefusedRows = {}
    rows = 0
    for events in tables:
        result = stage_table(step, session, source, events)
        refused |= {(events.table, counter): text for counter, text in result.refused.items()}
        if events.table != HEADER.event:
            rows += result.staged + result.erased
    close_batch(batch, rows)
    return refused


def stage_table(
    step: RunStep, session: UploadSession, source: UploadSource, events: EventBatch
) -> StagingCounts:
    """Put one table's rows into staging, the unusable ones into quarantine, and count them.

    Those that HQ's database takes into neither stay in the channel.
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


def note_counters(database: ChannelDatabase, batch: list[EventBatch]) -> None:
    """Note how far HQ has read this generation of the database; the fence compares it."""
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
    """Have the channel mark the batch as held, without the rows of which it refuses that.

    HQ holds these too; they come again in each run. Returns how many rows are there no longer, by
    table.
    """

    def mark(keys: Sequence[tuple[str, int]] | None) -> dict[str, int]:
        if keys is None:
            return channel.acknowledge(batch)
        chosen = set(keys)
        return channel.acknowledge(
            [
                replace(
                    events,
                    waiting=[
                        counter
                        for counter in counters_of(TABLES[events.table], events)
                        if (events.table, counter) not in chosen
                    ],
                )
                for events in batch
                if events.table in {table for table, _ in keys}
            ]
        )

    def rows() -> list[tuple[str, int]]:
        return [
            (events.table, counter)
            for events in batch
            for counter in counters_of(TABLES[events.table], events)
            if counter not in events.waiting
        ]

    done, unmarked = bisect_rows(mark, rows, attempt=self_committing)
    for events in batch:
        events.waiting += [counter for table, counter in unmarked if table == events.table]
    refused.update(unmarked)
    return {
        table: max(counters.get(table, 0) for counters in done)
        for counters in done
        for table in counters
    }


def report_oversized(step: RunStep, oversized: dict[str, list[int]]) -> None:
    """Report events that stay in the channel, because HQ does not carry rows of their size."""
    if oversized:
        with step.chunk():
            step.add(waiting=sum(map(len, oversized.values())))
            Incident.objects.report(
                IncidentKind.EVENT_TOO_LARGE,
                f"Channel {step.place}: an event in {', '.join(oversized)} is too large to be "
                "fetched. It stays there.",
                database=step.its_database,
                detail={"replication_counters": oversized},
            )


def report_vanished(step: RunStep, vanished: dict[str, int]) -> None:
    """Report events that HQ has read and holds, and that somebody has deleted since."""
    if vanished:
        with step.chunk():
            Incident.objects.report(
                IncidentKind.EVENT_VANISHED,
                f"Channel {step.place}: events in {', '.join(vanished)} were deleted before they "
                "were acknowledged. Headquarters holds them.",
                database=step.its_database,
                detail={"rows": vanished},
            )


def open_session(step: RunStep) -> UploadSession:
    """The record of this visit; made only once there is something to carry."""
    return UploadSession.objects.create(
        run=step.run, database=step.its_database, status=UploadStatus.AVAILABLE
    )


def fail_upload(session: UploadSession, error: Exception) -> None:
    """Say at the session how far it came: HQ has rows that the channel may not know of, or none."""
    present = UploadSession.objects.filter(pk=session.pk).first()
    if present is None:
        return  # the batch that would have made it was rolled back
    if isinstance(error, RunCancelled):
        present.status = UploadStatus.CANCELED
    elif present.status == UploadStatus.UPLOADED:
        present.status = UploadStatus.APPLY_FAILED
    else:
        present.status = UploadStatus.UPLOAD_FAILED
    # A driver's own text may quote a row.
    present.message = str(error)[:300] if isinstance(error, ChannelError) else ""
    present.save(update_fields=["status", "message"])


def report_flood(step: RunStep) -> None:
    """Open an incident if very many rows of this visit went to quarantine."""
    quarantined = step.counts.get("quarantined", 0)
    if quarantined >= FLOOD_ROWS:
        Incident.objects.report(
            IncidentKind.MANY_QUARANTINED,
            f"One visit to {step.place} brought {quarantined:,} rows that cannot be used.",
            database=step.its_database,
            detail={"quarantined": quarantined},
        )
