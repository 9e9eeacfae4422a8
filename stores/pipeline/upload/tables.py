"""Stage the rows of one table, or quarantine them.

A row goes to quarantine if it breaks a rule of HQ, or if the database refuses it for another
reason. Then the rows are divided in halves, again and again, until each refused row is alone.
"""

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
    """Stage or quarantine rows. Returns how many.

    Raises the errors of the database that are not about a row, such as a lost connection.
    """
    counts = quarantine_unreadable(source, table, events.unreadable)
    if not events.rows:
        return counts

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
        # No table of HQ takes these rows, not even as texts.
        rows = [unreadable_row(table, events, row, refused[row]) for row in unreadable]
        done += [*quarantined, quarantine_unreadable(source, table, rows)]
    return sum(done, start=counts)


def stage(source: UploadSource, table: StagedTable, events: EventBatch) -> StagingCounts:
    """Stage rows, and quarantine those that break a rule."""
    if not isinstance(table, EventKind):
        return stage_documents(source, events)
    with incoming_rows(table, events.data, binary=events.binary) as incoming:
        return stage_batch(replace(source, unread=events.unread), table, incoming)


def quarantine(
    source: UploadSource, table: StagedTable, events: EventBatch, refused: Mapping[int, str]
) -> StagingCounts:
    """Quarantine all rows. `refused` is the message of the database for each, by counter."""
    if not isinstance(table, EventKind):
        return quarantine_refused_documents(source, events, refused)
    with (
        incoming_rows(table, events.data, binary=events.binary) as incoming,
        rejected_rows() as rejected,
    ):
        reject_refused(refused, rejected)
        return quarantine_rejected(replace(source, unread=events.unread), table, incoming, rejected)
