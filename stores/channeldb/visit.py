"""One visit of HQ to a channel database: read events, acknowledge them, apply packages.

Both engines offer the same few verbs, so no step knows which one it talks to. Rows travel as COPY
data or tuples, never as model instances.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from django.db import connections

from stores.channeldb.connection import connect

# The only form in which a GUID counts; anything else is never read as one.
GUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Source:
    """Which columns of which event table to read, and their types by PostgreSQL's names."""

    table: str
    columns: tuple[str, ...]
    types: tuple[str, ...]


@dataclass(frozen=True)
class Unreadable:
    """A row whose form is broken, as found; `values` are what the engine gave."""

    counter: int
    reason: str
    field: str
    values: tuple[Any, ...]


@dataclass
class Events:
    """Rows of one event table, read in one snapshot: COPY data for HQ, and what to acknowledge."""

    table: str
    rows: int = 0
    data: bytes = b""
    binary: bool = False
    last_counter: int = 0
    keys: Any = None
    unreadable: list[Unreadable] = field(default_factory=list)

    @property
    def total(self) -> int:
        """All rows read, usable or not."""
        return self.rows + len(self.unreadable)


@dataclass(frozen=True)
class Target:
    """A table that HQ writes in a channel.

    A row replaces an older one by `key`; without `version` a row that is there stays for ever.
    """

    table: str
    columns: tuple[str, ...]
    types: tuple[str, ...]
    key: tuple[str, ...]
    version: str | None = "hq_version"


@dataclass(frozen=True)
class Package:
    """Rows for one target, in the form the engine asked for: COPY data or tuples.

    `is_first` says that the channel has none of them yet, unless an earlier part was not noted.
    """

    target: Target
    data: bytes = b""
    rows: Sequence[tuple[Any, ...]] = ()
    is_first: bool = False


class Visit(Protocol):
    """An open channel database. Errors: ChannelUnreachable when it goes away."""

    # Whether packages are wanted as COPY data (PostgreSQL) or as tuples (SQLite).
    takes_copy: bool

    def read_events(
        self, sources: Sequence[Source], *, limit: int, beyond: dict[str, int]
    ) -> list[Events]:
        """The oldest unacknowledged rows of each table, at most `limit` of each, in one snapshot.

        `beyond` skips counters up to its value; a dry run pages with it, others leave it empty.
        """

    def acknowledge(self, events: Sequence[Events]) -> None:
        """Mark exactly these rows as held by HQ, and commit."""

    def apply(self, packages: Sequence[Package], *, session: UUID, part: int, job: str) -> int:
        """Write one part of a session in one transaction, or skip it when it is known.

        Returns how many rows were new or newer.
        """


@contextmanager
def visit(database: Any) -> Iterator[Visit]:
    """Open a channel database for reading events and applying packages."""
    # Imported here because both modules build on the names above.
    from stores.channeldb.postgresql import PostgreSQLVisit
    from stores.channeldb.sqlite import SQLiteVisit

    with connect(database) as alias:
        wrapper = connections[alias]
        engine = PostgreSQLVisit if wrapper.vendor == "postgresql" else SQLiteVisit
        yield engine(wrapper)
