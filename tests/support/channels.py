"""For tests of channel databases: a channel, a till that runs SQL, and rows to write."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import uuid4

import psycopg2
import pytest
from django.conf import settings
from django.db import DatabaseError, connections, transaction

from stores.channeldb.connect.url import sqlite_path, till_url
from stores.channeldb.schema.tables import TABLE_BY_NAME, Column

TIME = "2026-03-01T10:00:00+00:00"
OTHER_TIME = "2026-03-02T11:30:00+00:00"


@dataclass(frozen=True)
class Channel:
    """A channel without HQ: it has the attributes of a ChannelDatabase that are used here."""

    pk: int | None
    url: str
    label: str = "houston"
    secret: str = ""


class Till:
    """Runs SQL in an open channel, as a till would."""

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.vendor = connections[alias].vendor

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run a statement. Returns its rows, if it has any."""
        with connections[self.alias].cursor() as cursor:
            cursor.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def value(self, statement: str, *values: Any) -> Any:
        """Run a statement. Returns the first column of its only row."""
        [row] = self.sql(statement, *values)
        return row[0]

    def insert(self, table: str, verb: str = "INSERT", ending: str = "", **row: Any) -> None:
        """Insert a row; `verb` may be INSERT OR REPLACE and the like."""
        placeholders = ", ".join(["%s"] * len(row))
        statement = f"{verb} INTO {table} ({', '.join(row)}) VALUES ({placeholders}) {ending}"
        self.sql(statement, *row.values())

    def acknowledge(self, table: str) -> None:
        """Acknowledge all events of a table, as HQ would."""
        self.sql(f"UPDATE {table} SET acknowledged_at = %s", TIME)  # noqa: S608 - our own names

    def count(self, table: str) -> int:
        return self.value(f"SELECT count(*) FROM {table}")  # noqa: S608

    @contextmanager
    def refused(self, message: str) -> Iterator[pytest.ExceptionInfo[DatabaseError]]:
        """Expect the database to refuse the block with this message, and roll it back."""
        with (
            pytest.raises(DatabaseError, match=message) as refusal,
            transaction.atomic(using=self.alias),
        ):
            yield refusal


def server() -> Any:
    """A connection to the embedded server that may create and drop databases."""
    connection = psycopg2.connect(
        host=str(settings.EMBEDDED.sockets), user="syncline", dbname="postgres"
    )
    connection.autocommit = True
    return connection


@cache
def shared_server() -> Any:
    """One connection for all statements: to connect takes longer than to rename a database."""
    return server()


def on_server(statement: str) -> list[tuple[Any, ...]]:
    """Run a statement on the embedded server, outside of any channel. Returns its rows, if any."""
    with shared_server().cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


def guid() -> str:
    """A new GUID in the form of the contract."""
    return str(uuid4())


def value_of(column: Column, other: bool = False) -> Any:
    """A value that fits the column, or another one that fits too."""
    values = {
        "text": ("Ann", "Bo"),
        "time": (TIME, OTHER_TIME),
        "date": ("2026-03-01", "2026-03-02"),
        "boolean": (False, True),
        "money": ("12.5000", "12.5001"),
        "integer": (1, 2),
        "bigint": (1, 2),
        "json": ("{}", "[]"),
    }
    return guid() if column.kind == "uuid" else values[column.kind][other]


def full_row(table: str, **given: Any) -> dict[str, Any]:
    """A row with a value in every column that a writer may fill."""
    filled_later = ("replication_counter", "acknowledged_at")
    columns = [c for c in TABLE_BY_NAME[table].columns if c.name not in filled_later]
    return {column.name: value_of(column) for column in columns} | given


def event(**given: Any) -> dict[str, Any]:
    """The columns that every event must have, and those that a test gives."""
    return {"event_id": guid(), "occurred_at": TIME, "operation": "create"} | given


def change(channel: Channel, *statements: str) -> None:
    """Run statements in a channel by its plain driver, past HQ."""
    if channel.url.startswith("sqlite"):
        raw = sqlite3.connect(sqlite_path(channel))
        raw.executescript(";".join(statements))
    else:
        raw = psycopg2.connect(till_url(channel))
        raw.cursor().execute(";".join(statements))
        raw.commit()
    raw.close()
