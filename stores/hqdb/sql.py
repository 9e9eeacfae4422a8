"""Set-based work in HQ: statements, COPY, the planner's settings.

A statement has parameters for values, `%(company)s`, and holes for names, `{table}`, which the
callers of run_sql() and fetch() give as keywords. A name never comes from outside this code.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from io import BytesIO
from itertools import islice
from tempfile import SpooledTemporaryFile
from typing import IO, Any, TypeAlias, TypeVar

from django.db import connection
from psycopg2 import sql

Query: TypeAlias = str | sql.Composable
Params: TypeAlias = Mapping[str, Any] | Sequence[Any] | None
Name: TypeAlias = "sql.Identifier | sql.Literal[Any]"
Row: TypeAlias = tuple[Any, ...]
Item = TypeVar("Item")
# What a copy between two databases may hold in memory; the rest is in a file.
MAX_BYTES_IN_MEMORY = 1 << 24
# Given by position: with DEBUG on, Django's cursors take no keywords for a COPY.
COPY_BUFFER_BYTES = 1 << 18


def as_composable(query: Query) -> sql.Composable:
    return query if isinstance(query, sql.Composable) else sql.SQL(query)


def with_names(statement: Query, names: Mapping[str, Name]) -> Query:
    """A statement with its holes filled, if it has any left; without names its braces stay."""
    if not names or isinstance(statement, sql.Composed):
        return statement
    return (statement if isinstance(statement, sql.SQL) else sql.SQL(str(statement))).format(
        **names
    )


def run_sql(statement: Query, params: Params = None, /, **names: Name) -> int:
    """Execute one statement in HQ; returns how many rows it touched."""
    with connection.cursor() as cursor:
        cursor.execute(with_names(statement, names), params)
        return int(cursor.rowcount)


def fetch(statement: Query, params: Params = None, /, **names: Name) -> list[Row]:
    with connection.cursor() as cursor:
        cursor.execute(with_names(statement, names), params)
        return list(cursor.fetchall())


def fetch_one(statement: Query, params: Params = None, /, **names: Name) -> Row:
    return fetch(statement, params, **names)[0]


def fetch_value(statement: Query, params: Params = None, /, **names: Name) -> Any:
    """Return what a query for one row of one column finds."""
    return fetch(statement, params, **names)[0][0]


def fetch_values(statement: Query, params: Params = None, /, **names: Name) -> list[Any]:
    """Return what a query for one column finds, or a statement returns of the rows it changes."""
    return [value for (value,) in fetch(statement, params, **names)]


def database_clock() -> datetime:
    """The time by HQ's database, which all schedulers share."""
    now: datetime = fetch_value("SELECT clock_timestamp()")
    return now


def copy_in(table: str, columns: Sequence[str], data: bytes, *, binary: bool) -> int:
    """COPY rows into a table of HQ; returns how many."""
    statement = sql.SQL("COPY {} ({}) FROM STDIN {}").format(
        sql.Identifier(table),
        identifiers(columns),
        sql.SQL("(FORMAT binary)" if binary else "(FORMAT text)"),
    )
    with connection.cursor() as cursor:
        cursor.copy_expert(statement, BytesIO(data), COPY_BUFFER_BYTES)
        return int(cursor.rowcount)


def copy_stream(table: sql.Identifier, write: Callable[[IO[bytes]], None]) -> int:
    """COPY into a table what `write` puts into a file, in the text format; returns rows."""
    with SpooledTemporaryFile(max_size=MAX_BYTES_IN_MEMORY) as rows, connection.cursor() as cursor:
        write(rows)
        rows.seek(0)
        cursor.copy_expert(sql.SQL("COPY {} FROM STDIN").format(table), rows)
        return int(cursor.rowcount)


def copy_out_text(query: Query, /, **names: Name) -> bytes:
    """The rows of a query in PostgreSQL's text COPY format: tabs between, one line each."""
    rows = as_composable(with_names(query, names))
    data = BytesIO()
    with connection.cursor() as cursor:
        cursor.copy_expert(sql.SQL("COPY ({}) TO STDOUT").format(rows), data, COPY_BUFFER_BYTES)
    return data.getvalue()


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch


def identifiers(columns: Sequence[str], *, of: str | None = None) -> sql.Composed:
    """Column names as identifiers, of one table if given, with commas between."""
    quoted = [sql.Identifier(of, column) if of else sql.Identifier(column) for column in columns]
    return sql.SQL(", ").join(quoted)


def listed(parts: Iterable[sql.Composable]) -> sql.Composed:
    return sql.SQL(", ").join(list(parts))


def assignments(columns: Sequence[str], *, of: str) -> sql.Composed:
    """What SET takes: each column gets that of another row."""
    return listed(
        sql.SQL("{} = {}").format(sql.Identifier(column), sql.Identifier(of, column))
        for column in columns
    )


def equal(columns: Sequence[str], one: str, other: str) -> sql.Composed:
    """That two rows have the same in these columns, of which none is NULL."""
    return sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier(one, column), sql.Identifier(other, column))
        for column in columns
    )


def lock_until_commit(name: str) -> None:
    """Wait for the named lock; it is free again when the transaction ends."""
    run_sql("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [name])


def reserve_numbers(series: str, column: str, company: str, count: int) -> int:
    """Take `count` numbers off a company's sequence, in the caller's transaction. The first.

    A rollback gives them back, so there are no gaps. Errors: IntegrityError beyond the largest.
    """
    next_number = fetch_value(
        sql.SQL(
            "UPDATE {series} SET {column} = {column} + %s WHERE company_id = %s RETURNING {column}"
        ).format(series=sql.Identifier(series), column=sql.Identifier(column)),
        [count, company],
    )
    return int(next_number) - count


@contextmanager
def prefer_index_scans() -> Iterator[None]:
    """Have rows looked up by index inside the block, whatever the statistics say.

    A scan of a whole staging table for every chunk would make a large backlog quadratic. What a
    chunk merges has room in memory. A rollback ends it too.
    """
    run_sql("SET LOCAL enable_seqscan = off; SET LOCAL work_mem = '64MB'")
    yield
    run_sql("SET LOCAL enable_seqscan = on; SET LOCAL work_mem TO DEFAULT")


@contextmanager
def prefer_ordered_scan() -> Iterator[None]:
    """Have the first rows of an order read from its index, however few the statistics expect.

    Else all that is left would be collected and sorted for every chunk. A rollback ends it too.
    """
    run_sql("SET LOCAL enable_bitmapscan = off")
    yield
    run_sql("SET LOCAL enable_bitmapscan = on")


@contextmanager
def prefer_hash_joins() -> Iterator[None]:
    """Have rows matched by hash inside the block, however few the statistics expect.

    Of what was written a moment ago they know nothing: all would be compared with all. A rollback
    ends it too.
    """
    run_sql("SET LOCAL enable_nestloop = off")
    yield
    run_sql("SET LOCAL enable_nestloop = on")
