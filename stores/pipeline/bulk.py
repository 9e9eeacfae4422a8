"""The mechanics of set-based work in HQ: chunk sizes, statements, COPY, advisory locks.

Statements that are the same for all five kinds of events are written once, with the names put in
as identifiers; a name never comes from outside this code.
"""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any, TypeAlias

from django.db import connection
from psycopg2 import sql

# Rows of each table in one batch of an upload; customers in one chunk of conversion and download.
# Below 1,000 the fixed cost of a transaction shows, above 10,000 a crash repeats too much.
EVENTS = 10_000
CUSTOMERS = 5_000

Statement: TypeAlias = str | sql.Composable
Row: TypeAlias = tuple[Any, ...]


def run_sql(statement: Statement, params: Mapping[str, Any] | Sequence[Any] | None = None) -> int:
    """Execute one statement in HQ; returns how many rows it touched."""
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return int(cursor.rowcount)


def fetch(
    statement: Statement, params: Mapping[str, Any] | Sequence[Any] | None = None
) -> list[Row]:
    """All rows of one query in HQ."""
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return list(cursor.fetchall())


def fetch_one(statement: Statement, params: Mapping[str, Any] | Sequence[Any] | None = None) -> Row:
    """The only row of one query in HQ."""
    return fetch(statement, params)[0]


def copy_in(table: str, columns: Sequence[str], data: bytes, *, binary: bool) -> int:
    """COPY rows into a table of HQ; returns how many."""
    statement = sql.SQL("COPY {} ({}) FROM STDIN {}").format(
        sql.Identifier(table),
        names(columns),
        sql.SQL("(FORMAT binary)" if binary else "(FORMAT text)"),
    )
    with connection.cursor() as cursor:
        cursor.copy_expert(statement, BytesIO(data), size=1 << 18)
        return int(cursor.rowcount)


def copy_out(query: Statement) -> bytes:
    """The rows of a query in PostgreSQL's binary COPY format."""
    data = BytesIO()
    inner = query if isinstance(query, sql.Composable) else sql.SQL(query)
    with connection.cursor() as cursor:
        cursor.copy_expert(
            sql.SQL("COPY ({}) TO STDOUT (FORMAT binary)").format(inner), data, size=1 << 18
        )
    return data.getvalue()


def names(columns: Sequence[str], *, of: str | None = None) -> sql.Composed:
    """Column names as identifiers, of one table if given, with commas between."""
    found = [sql.Identifier(of, column) if of else sql.Identifier(column) for column in columns]
    return sql.SQL(", ").join(found)


def lock_until_commit(name: str) -> None:
    """Wait for the named lock; it is free again when the transaction ends."""
    run_sql("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [name])
