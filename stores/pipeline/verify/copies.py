"""Which tables and columns of a channel are compared, and which part of them makes a sample."""

from dataclasses import dataclass

from django.utils import timezone

from stores.channeldb.schema import EVENT_TABLES
from stores.pipeline.kinds import KINDS

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
        f"seen_{table.name}",
        table.name,
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
# The events themselves, of the tables that HQ stages; in the order of EVENTS.
CONTENTS = [
    Copy(
        f"content_{kind.event}",
        kind.event,
        tuple((column, kind.type_of(column)) for column in kind.sent),
    )
    for kind in KINDS
]


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
