"""Which tables and columns of a channel are compared, and which part of them makes a sample."""

from dataclasses import dataclass

from django.utils import timezone

from stores.pipeline.events.document_tables import KEY
from stores.pipeline.events.kinds import Sent
from stores.pipeline.events.tables import EVENT_TABLES, PARTS_OF

# Events of one table of one channel whose content is compared, unless all are asked for.
SAMPLE = 2_000


@dataclass(frozen=True)
class Copy:
    """A table of the channels and the columns of it that are compared, with PostgreSQL's types."""

    target: str
    source: str
    columns: tuple[tuple[str, str], ...]


EVENTS = [
    Copy(
        f"seen_{table.event}",
        table.event,
        (
            ("event_id", "uuid"),
            ("replication_counter", "bigint"),
            ("acknowledged_at", "timestamptz"),
        ),
    )
    for table in EVENT_TABLES
]
MAP = Copy(
    "seen_map",
    "account_map",
    (("async_account", "uuid"), ("company", "text"), ("account_number", "text")),
)
CUSTOMERS = Copy(
    "seen_customer",
    "customer",
    (
        ("company", "text"),
        ("account_number", "text"),
        ("async_account", "uuid"),
        ("hq_version", "bigint"),
    ),
)
COPIES = (MAP, CUSTOMERS, *EVENTS)


def content_of(table: Sent) -> Copy:
    """All that is sent of one table."""
    columns = tuple((column, table.type_of(column)) for column in table.sent)
    return Copy(f"content_{table.event}", table.event, columns)


# The events themselves; in the order of EVENTS.
CONTENTS = [content_of(table) for table in EVENT_TABLES]
# What travels with them, by the table whose rows it belongs to.
CONTENTS_OF_PARTS = {
    event: [content_of(part) for part in parts] for event, parts in PARTS_OF.items()
}


def of_these(source: str, part: str) -> str:
    """The condition for the rows that travel with the events of a sample."""
    return f" WHERE {KEY} IN (SELECT {KEY} FROM {source}{part})" if part else ""  # noqa: S608


def part_of(rows: int) -> str:
    """The condition for a sample of so many events: ids are random, so a range of them is.

    The range moves on every day. Every table has an index on the id, on both engines.
    """
    width = -(-256 * SAMPLE // max(rows, 1))
    if width >= 256:
        return ""
    first = min(timezone.now().timetuple().tm_yday * 37 % 256, 256 - width)
    end = first + width
    above = f" AND event_id < '{lowest(end)}'" if end < 256 else ""
    return f" WHERE event_id >= '{lowest(first)}'{above}"


def lowest(byte: int) -> str:
    """The lowest GUID that begins with a byte."""
    return f"{byte:02x}000000-0000-0000-0000-000000000000"
