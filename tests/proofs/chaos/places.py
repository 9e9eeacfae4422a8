"""A channel's database as its tills and strangers see it: plain drivers, plain SQL."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Self

import psycopg2
from psycopg2.extensions import ISOLATION_LEVEL_REPEATABLE_READ

from stores.channeldb.connect.url import till_url
from stores.models import ChannelDatabase

SQLITE = "sqlite:///"


@dataclass(frozen=True)
class Place:
    """A channel database: HQ's number for it, its name, its company and where it is."""

    pk: int
    label: str
    company: str
    address: str

    @classmethod
    def of(cls, database: ChannelDatabase) -> Self:
        """The place of a registered database, at its own address."""
        label, company = database.label, database.channel.company_id
        return cls(database.pk, label, company, till_url(database))

    @property
    def is_file(self) -> bool:
        """Whether it is a SQLite file."""
        return self.address.startswith(SQLITE)

    def open(self, *, write: bool = False) -> Any:
        """A connection of the driver; the caller commits and closes it.

        What it confirms is on the disk: the server may be tuned otherwise.
        """
        if self.is_file:
            path, mode = self.address.removeprefix(SQLITE), "rw" if write else "ro"
            return sqlite3.connect(f"file:{path}?mode={mode}", uri=True, timeout=20)
        return psycopg2.connect(self.address, options="-c synchronous_commit=on")

    @contextmanager
    def snapshot(self) -> Iterator[Any]:
        """A cursor that sees one moment of the database and changes nothing."""
        with closing(self.open()) as connection:
            if self.is_file:
                connection.isolation_level = None
                connection.execute("BEGIN DEFERRED")
            else:
                connection.set_session(
                    isolation_level=ISOLATION_LEVEL_REPEATABLE_READ, readonly=True
                )
            yield connection.cursor()


def rows(cursor: Any, statement: str) -> list[tuple[Any, ...]]:
    """All rows of one query, on either driver."""
    cursor.execute(statement)
    return list(cursor.fetchall())
