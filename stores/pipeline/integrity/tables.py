"""The tables and columns of a channel that are compared, and the sample of their events."""

from dataclasses import dataclass

from django.utils import timezone

from stores.pipeline.events.document_tables import DOCUMENT_KEY
from stores.pipeline.events.kinds import StagedTable
from stores.pipeline.events.tables import PARTS_BY_TABLE, STAGED_TABLES

# How many events of a table are compared by content, unless all are.
EVENT_SAMPLE = 2_000


@dataclass(frozen=True)
class ComparedTable:
    """A table of the channels, `source`, which is copied into the work table `target`.

    `columns` are the columns that are compared, with PostgreSQL's types.
    """

    target: str
    source: str
    columns: tuple[tuple[str, str], ...]


COMPARED_EVENTS = [
    ComparedTable(
        f"seen_{table.event}",
        table.event,
        (
            ("event_id", "uuid"),
            ("replication_counter", "bigint"),
            ("acknowledged_at", "timestamptz"),
        ),
    )
    for table in STAGED_TABLES
]
COMPARED_MAP = ComparedTable(
    "seen_map",
    "account_map",
    (("async_account", "uuid"), ("company", "text"), ("account_number", "text")),
)
COMPARED_CUSTOMERS = ComparedTable(
    "seen_customer",
    "customer",
    (
        ("company", "text"),
        ("account_number", "text"),
        ("async_account", "uuid"),
        ("hq_version", "bigint"),
    ),
)
COMPARED_TABLES = (COMPARED_MAP, COMPARED_CUSTOMERS, *COMPARED_EVENTS)


def contents_of_table(table: StagedTable) -> ComparedTable:
    """Return all columns that travel of a table."""
    columns = tuple(zip(table.sent_columns, table.types, strict=True))
    return ComparedTable(f"content_{table.event}", table.event, columns)


COMPARED_CONTENTS = [contents_of_table(table) for table in STAGED_TABLES]
COMPARED_PARTS = {
    event: [contents_of_table(part) for part in parts] for event, parts in PARTS_BY_TABLE.items()
}
# All tables of a channel of which copies are made.
COPIED_TABLES = (
    *COMPARED_TABLES,
    *COMPARED_CONTENTS,
    *(part for parts in COMPARED_PARTS.values() for part in parts),
)


def sampled_part_condition(source: str, condition: str) -> str:
    """Return the WHERE clause for the lines or payments of sales that meet a condition."""
    if not condition:
        return ""
    return f" WHERE {DOCUMENT_KEY} IN (SELECT {DOCUMENT_KEY} FROM {source}{condition})"  # noqa: S608


def sample_condition(rows: int) -> str:
    """Return the WHERE clause for a sample of `rows` events, or nothing if all are compared.

    Ids are random, so that a range of their first bytes is a sample. It moves every day.
    """
    width = -(-256 * EVENT_SAMPLE // max(rows, 1))
    if width >= 256:
        return ""
    first = min(timezone.now().timetuple().tm_yday * 37 % 256, 256 - width)
    end = first + width
    above = f" AND event_id < '{lowest(end)}'" if end < 256 else ""
    return f" WHERE event_id >= '{lowest(first)}'{above}"


def lowest(byte: int) -> str:
    """Return the lowest id with a first byte."""
    return f"{byte:02x}000000-0000-0000-0000-000000000000"
