"""One visit of HQ to a channel database: read events, acknowledge them, apply packages.

Both engines offer the same few verbs, so no step knows which one it talks to. Rows travel as COPY
data, never as model instances. Whoever writes names the nonce of the latest visit, and
the channel's own transaction refuses any other.
"""

import dataclasses
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from stores.channeldb.errors import ChannelError
from stores.channeldb.schema.tables import NO_COLUMNS

# How many contradictions, or rows that were left, are told one by one.
MAX_REPORTED_CONTRADICTIONS = 20
# What a batch may hold of one table, in bytes; a normal one holds a tenth of it.
MAX_BATCH_BYTES = 32 << 20
# The only form in which a GUID counts; anything else is never read as one.
GUID_FORM = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True)
class EventTable:
    """Which columns of which event table to read, and their types by PostgreSQL's names.

    `parts` are the tables whose rows travel with those of this one, by `transaction_id`. A value
    out of form in an `optional` column does not make its row unreadable. A channel of an older
    version has not the `lacking` columns, which are read as nothing. Rows that HQ has acknowledged
    are read only `with_acknowledged`.
    """

    table: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    parts: tuple["EventTable", ...] = ()
    optional: tuple[str, ...] = ()
    lacking: frozenset[str] = NO_COLUMNS
    with_acknowledged: bool = False

    @property
    def is_read(self) -> str:
        """SQL condition: a row of the table is to be read."""
        return "TRUE" if self.with_acknowledged else "acknowledged_at IS NULL"


@dataclass(frozen=True)
class Unreadable:
    """A row whose form is broken, as found; `values` are what the engine gave.

    `rule` is what the field may hold, where that does not follow from the reason.
    `parts` are the rows that travel with it, by table.
    """

    counter: int
    reason: str
    field: str
    values: tuple[Any, ...]
    rule: str = ""
    parts: dict[str, list[tuple[Any, ...]]] = dataclasses.field(default_factory=dict)


@dataclass
class EventBatch:
    """Rows of one event table, read in one snapshot: COPY data for HQ, and what to acknowledge.

    `parts` is COPY data of the rows that travel with them, by table; `waiting` are counters that
    HQ does not take yet, and that stay unacknowledged; `unread` are values of optional columns
    that are out of form, by counter and column, and null in the data.
    """

    table: str
    rows: int = 0
    data: bytes = b""
    binary: bool = False
    last_counter: int = 0
    keys: Any = None
    unreadable: list[Unreadable] = field(default_factory=list)
    # Counters of rows that are too large to be carried: they stay where they are.
    oversized: list[int] = field(default_factory=list)
    parts: dict[str, bytes] = field(default_factory=dict)
    waiting: list[int] = field(default_factory=list)
    unread: dict[int, dict[str, Any]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All rows read, usable or not."""
        return self.rows + len(self.unreadable)


@dataclass(frozen=True)
class Target:
    """A table that HQ writes in a channel.

    A row replaces an older one by `key`; without `version` a row that is there stays for ever.
    An `immutable` column never changes: the attempt is a contradiction.
    """

    table: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    key: tuple[str, ...]
    version: str | None = "hq_version"
    immutable: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableData:
    """Rows for one target, as COPY data in the text format.

    `is_first` says that the channel has none of them yet, unless it was sent them before.
    """

    target: Target
    data: bytes
    is_first: bool = False

    @property
    def rows(self) -> int:
        # Line ends inside a value are escaped.
        return self.data.count(b"\n")


@dataclass(frozen=True)
class PositionMove:
    """Up to which change of a company's customers a channel has everything, before and after."""

    company: str
    seen: int
    to: int


class NonceRefused(ChannelError):
    """Another visit has taken the channel over."""

    code = "any_channel_taken_over"


class PositionMoved(ChannelError):
    """The channel has another position than headquarters saw, and nothing was written."""

    code = "any_channel_moved"


class Contradiction(ChannelError):
    """The channel knows an account otherwise than HQ, and nothing was written."""

    code = "any_channel_contradicts"

    def __init__(self, table: str, count: int, rows: Sequence[Sequence[str]]) -> None:
        super().__init__()
        self.table, self.count = table, count
        self.first = [
            dict(zip(("key", "channel", "headquarters"), row, strict=True)) for row in rows
        ]


@dataclass(frozen=True)
class VisitToken:
    """Which visit was the latest: epochs only grow, the nonce tells two of one epoch apart."""

    epoch: int
    nonce: UUID


# Where a channel keeps how far orders and invoices are numbered: "USRT/order" and so on.
ISSUED_KEY = "issued_numbers"
READ_ISSUED = f"SELECT value FROM channel_setting WHERE key = '{ISSUED_KEY}'"  # noqa: S608


@dataclass(frozen=True)
class ChannelState:
    """What a channel database says of itself.

    `account_high` is the highest account number by company, `issued` the highest of its orders and
    invoices, by company and series. `counters` is the highest replication counter of each event
    table, where it can be told. `positions` is up to which change of a company's customers it has
    everything.
    """

    database_id: UUID
    token: VisitToken
    account_high: dict[str, int]
    issued: dict[str, int] = field(default_factory=dict)
    counters: dict[str, int] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)


def parse_state(rows: Sequence[tuple[Any, ...]], counters: dict[str, int]) -> ChannelState | None:
    """The state in the row of `exchange_state`, or None if it is missing or makes no sense."""
    try:
        [(database_id, epoch, nonce, high, positions, issued)] = rows
        high = json.loads(high) if isinstance(high, str) else high
        positions = json.loads(positions) if isinstance(positions, str) else positions
        return ChannelState(
            UUID(str(database_id)),
            VisitToken(int(epoch), UUID(str(nonce))),
            {str(company): int(number) for company, number in high.items()},
            parse_issued(issued),
            counters,
            {str(company): int(number) for company, number in positions.items()},
        )
    except (ValueError, TypeError, AttributeError):
        return None


def parse_issued(value: Any) -> dict[str, int]:
    """The numbers in the channel's setting; it is one witness of many, so nonsense says nothing."""
    try:
        numbers = json.loads(value) if isinstance(value, str) else None
    except ValueError:
        numbers = None
    series = numbers.items() if isinstance(numbers, dict) else ()
    return {name: number for name, number in series if type(number) is int}


def parse_settings(rows: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The settings in rows of key and JSON text, without those whose value is no JSON."""
    held = {}
    for key, value in rows:
        try:
            held[key] = json.loads(value)
        except (ValueError, TypeError):
            continue
    return held


def highest_of(known: dict[str, int], reported: dict[str, int]) -> dict[str, int]:
    return known | {name: max(number, known.get(name, number)) for name, number in reported.items()}


class Visit(Protocol):
    """An open channel database. Errors: ChannelUnreachable when it goes away."""

    def excess_privileges(self) -> list[str]:
        """What HQ's role may do here and never needs."""

    def state(self) -> ChannelState | None:
        """Which database this is and which visit was the latest; None if it does not say."""

    def fence(self, seen: VisitToken, token: VisitToken) -> bool:
        """Put a new pair in the place of the one seen, and commit. False if it is not there."""

    def read_events(
        self, sources: Sequence[EventTable], *, limit: int, beyond: dict[str, int]
    ) -> list[EventBatch]:
        """The oldest rows to read of each table, at most `limit` of each, in one snapshot.

        Fewer when they are large. Rows with more than MAX_VALUE_BYTES are `oversized`; they are
        named at the latest when there is nothing else to read. `beyond` skips counters up to its
        value; a dry run pages with it, others leave it empty.
        """

    def event_ids(self, table: str) -> tuple[bytes, bool]:
        """The ids of all events of a table as COPY data, and whether that is binary."""

    def accounts_of(self, guids: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Company and account number of those of the GUIDs that the channel was given."""

    def acknowledge(self, events: Sequence[EventBatch], *, nonce: UUID) -> dict[str, int]:
        """Mark exactly these rows as held by HQ, and commit.

        Returns how many of them are there no longer, by table, where there are any. Errors:
        NonceRefused.
        """

    def reopen(self, table: str, counters: Sequence[int], *, nonce: UUID) -> int:
        """Make acknowledged events unacknowledged again, and commit: HQ does not hold them.

        Returns how many. Errors: NonceRefused.
        """

    def note_issued(self, issued: dict[str, int], *, nonce: UUID) -> None:
        """Remember how far orders and invoices are numbered, and commit; never less than before.

        Errors: NonceRefused.
        """

    def correct_heights(
        self, account_high: dict[str, int], issued: dict[str, int], *, nonce: UUID
    ) -> None:
        """Remember these highest numbers in the place of others, which were wrong, and commit.

        Errors: NonceRefused.
        """

    def read_settings(self, keys: Sequence[str]) -> dict[str, Any]:
        """The settings with these keys that the channel holds."""

    def write_settings(self, settings: dict[str, Any], *, nonce: UUID) -> None:
        """Write settings by their keys, in one transaction. Errors: NonceRefused."""

    def apply(
        self,
        tables: Sequence[TableData],
        *,
        session: UUID,
        part: int,
        job: str,
        nonce: UUID,
        following: VisitToken | None = None,
        high: dict[str, int] | None = None,
        move: PositionMove | None = None,
    ) -> int:
        """Write one part of a session in one transaction, or skip it when it is known.

        `following` is what the same transaction puts in the place of the latest pair, so that a
        copy of the database tells whether it holds the part. `move` is where the rows bring the
        channel, noted in that transaction too.
        `high` is the highest account number that HQ has issued, by company; the channel keeps it as
        a witness. Returns how many rows were new or newer. Errors: NonceRefused; PositionMoved;
        Contradiction when a fixed column would change. Then nothing is written.
        """
