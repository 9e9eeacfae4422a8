"""Take in the rows of one table: staged, or quarantined by a rule or for what the database said."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from stores.channeldb.exchange.protocol import EventBatch
from stores.hqdb.retry import bisect_rows
from stores.pipeline.events.kinds import EventKind, StagedTable
from stores.pipeline.upload.documents import quarantine_refused_documents, stage_documents
from stores.pipeline.upload.event_rows import counter_of, rows_of, select_rows, unreadable_row
from stores.pipeline.upload.quarantine import (
    StagingCounts,
    UploadSource,
    quarantine_rejected,
    quarantine_unreadable,
    reject_refused,
    rejected_rows,
)
from stores.pipeline.upload.staging import incoming_rows, stage_batch


def stage_events(source: UploadSource, table: StagedTable, events: EventBatch) -> StagingCounts:
    """Take rows in; those that the database refuses, for whatever reason, are set aside alone.

    Trouble with the connection is no trouble with a row: it flies on, and the batch is forgotten.
    """
    taken = quarantine_unreadable(source, table, events.unreadable)
    if not events.rows:
        return taken

    def selected(rows: Sequence[bytes] | None) -> EventBatch:
        return events if rows is None else select_rows(table, events, rows)

    done, refused = bisect_rows(
        lambda rows: stage(source, table, selected(rows)), lambda: rows_of(events)
    )
    if refused:
        refusals = {counter_of(table, events, row): refusal for row, refusal in refused.items()}
        quarantined, unreadable = bisect_rows(
            lambda rows: quarantine(source, table, selected(rows or list(refused)), refusals),
            lambda: list(refused),
        )
        # Rows that even COPY does not bring into a table of HQ.
        rows = [unreadable_row(table, events, row, refused[row]) for row in unreadable]
        done += [*quarantined, quarantine_unreadable(source, table, rows)]
    return sum(done, taken)


def stage(source: UploadSource, table: StagedTable, events: EventBatch) -> StagingCounts:
    """Stage rows, or quarantine them by our rules."""
    if not isinstance(table, EventKind):
        return stage_documents(source, events)
    with incoming_rows(table, events.data, binary=events.binary) as incoming:
        return stage_batch(replace(source, unread=events.unread), table, incoming)


def quarantine(
    source: UploadSource, table: StagedTable, events: EventBatch, refused: Mapping[int, str]
) -> StagingCounts:
    """Quarantine all rows, with what the database said of each, by counter."""
    if not isinstance(table, EventKind):
        return quarantine_refused_documents(source, events, refused)
    with (
        incoming_rows(table, events.data, binary=events.binary) as incoming,
        rejected_rows() as rejected,
    ):
        reject_refused(refused, rejected)
        return quarantine_rejected(replace(source, unread=events.unread), table, incoming, rejected)
