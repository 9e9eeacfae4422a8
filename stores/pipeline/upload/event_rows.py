"""Take a batch of events apart into rows, each in the binary or text form of COPY, and select rows.

The lines and payments of a sale are rows of other tables, which travel with the row of the sale.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from stores.channeldb.exchange import copy
from stores.channeldb.exchange.protocol import EventBatch, Unreadable
from stores.pipeline.events.document_tables import DOCUMENT_KEY, DOCUMENT_PARTS
from stores.pipeline.events.kinds import StagedTable


def rows_of(events: EventBatch) -> list[bytes]:
    return copy.split_rows(events.data, binary=events.binary) if events.rows else []


def part_rows_of(events: EventBatch, part: StagedTable) -> list[bytes]:
    """Return the lines or payments that travel with the rows."""
    data = events.parts.get(part.event, b"")
    return copy.split_rows(data, binary=events.binary) if data else []


def values_of(table: StagedTable, events: EventBatch, row: bytes) -> tuple[Any, ...]:
    return copy.row_values(row, table.types, binary=events.binary)


def value_of(table: StagedTable, column: str, events: EventBatch, row: bytes) -> Any:
    return values_of(table, events, row)[table.sent_columns.index(column)]


def counter_of(table: StagedTable, events: EventBatch, row: bytes) -> int:
    return int(value_of(table, "replication_counter", events, row))


def counters_of(table: StagedTable, events: EventBatch) -> list[int]:
    """Return the counters of all rows, those that cannot be read last."""
    read = [counter_of(table, events, row) for row in rows_of(events)]
    return read + [row.counter for row in events.unreadable]


def select_rows(table: StagedTable, events: EventBatch, rows: Sequence[bytes]) -> EventBatch:
    """Return a batch of some of the rows, with what travels with them."""
    parts: dict[str, bytes] = {}
    if events.parts:
        numbers = {value_of(table, DOCUMENT_KEY, events, row) for row in rows}
        for part in DOCUMENT_PARTS:
            chosen = [
                row
                for row in part_rows_of(events, part)
                if value_of(part, DOCUMENT_KEY, events, row) in numbers
            ]
            parts[part.event] = copy.join_rows(chosen, binary=events.binary)
    data = copy.join_rows(rows, binary=events.binary)
    return replace(events, rows=len(rows), data=data, unreadable=[], parts=parts)


def unreadable_row(table: StagedTable, events: EventBatch, row: bytes, refusal: str) -> Unreadable:
    """Return a row that no table of HQ takes, with what travels with it."""
    single = select_rows(table, events, [row])
    parts = {
        part.event: [values_of(part, single, part_row) for part_row in part_rows_of(single, part)]
        for part in (DOCUMENT_PARTS if events.parts else ())
    }
    counter, values = counter_of(table, events, row), values_of(table, events, row)
    return Unreadable(counter, "refused", "", values, refusal, parts=parts)
