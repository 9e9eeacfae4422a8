"""Stage the rows of one table, or quarantine them.

A row goes to quarantine if it breaks a rule of HQ, or if the database refuses it for another
reason. Then the rows are divided in halves, again and again, until each refused row is alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from stores.channeldb.exchange.protocol import EventBatch
from stores.hqdb.retry import bisect_keys, bisect_rows
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

    def stage_rows(rows: Sequence[bytes] | None) -> StagingCounts:
        return stage(source, table, events if rows is None else select_rows(table, events, rows))

    staged, refused = bisect_rows(stage_rows, lambda: rows_of(events))
    quarantined = quarantine_refused(source, table, events, refused) if refused else []
    return sum([*staged, *quarantined], start=counts)


def quarantine_refused(
    source: UploadSource, table: StagedTable, events: EventBatch, refused: Mapping[bytes, str]
) -> list[StagingCounts]:
    """Quarantine the rows that the database refuses to stage, with its message for each."""
    messages = {counter_of(table, events, row): message for row, message in refused.items()}

    def quarantine_rows(rows: Sequence[bytes]) -> StagingCounts:
        return quarantine(source, table, select_rows(table, events, rows), messages)

    quarantined, unreadable = bisect_keys(quarantine_rows, list(refused))
    # No table of HQ takes these rows, not even as texts.
    rows = [unreadable_row(table, events, row, refused[row]) for row in unreadable]
    return [*quarantined, quarantine_unreadable(source, table, rows)]


def stage(source: UploadSource, table: StagedTable, events: EventBatch) -> StagingCounts:
    """Stage rows, and quarantine those that break a rule."""
    if not isinstance(table, EventKind):
        return stage_documents(source, events)
    with incoming_rows(table, events.data, binary=events.binary) as incoming:
        return stage_batch(replace(source, unread=events.unread), table, incoming)


def quarantine(
    source: UploadSource, table: StagedTable, events: EventBatch, messages: Mapping[int, str]
) -> StagingCounts:
    """Quarantine all rows, with the database's message for each, by counter."""
    if not isinstance(table, EventKind):
        return quarantine_refused_documents(source, events, messages)
    with (
        incoming_rows(table, events.data, binary=events.binary) as incoming,
        rejected_rows() as rejected,
    ):
        reject_refused(messages, rejected)
        return quarantine_rejected(replace(source, unread=events.unread), table, incoming, rejected)
