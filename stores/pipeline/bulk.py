"""The mechanics of set-based work in HQ: chunk sizes, statements, COPY, advisory locks.

Statements that are the same for all five kinds of events are written once, with the names put in
as identifiers; a name never comes from outside this code.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from itertools import islice
from random import uniform
from typing import Any, TypeAlias, TypeVar

import psycopg2
from django.db import DatabaseError, OperationalError, connection
from psycopg2 import errorcodes, sql

logger = logging.getLogger(__name__)

# Rows of each table in one batch of an upload; customers in one chunk of conversion and download.
# Below 1,000 the fixed cost of a transaction shows, above 10,000 a crash repeats too much.
EVENTS = 10_000
CUSTOMERS = 5_000
# Sales in one chunk of validation, orders and statements; each brings some lines and payments.
SALES = 2_000
# More rows that the database refuses in one step are no accident.
MOST_REFUSED = 20
# Another transaction got in the way; the same again may well succeed.
PASSING = {
    errorcodes.SERIALIZATION_FAILURE,
    errorcodes.DEADLOCK_DETECTED,
    errorcodes.LOCK_NOT_AVAILABLE,
}
TRIES = 5
LONGEST_PAUSE_S = 0.4
# SQLSTATE classes that blame a row: data exception, constraint, limit, and what a trigger raises.
ABOUT_DATA = ("22", "23", "54", "P0")

Done = TypeVar("Done")
Statement: TypeAlias = str | sql.Composable
Row: TypeAlias = tuple[Any, ...]
Item = TypeVar("Item")


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


def copy_text(query: sql.Composable) -> bytes:
    """The rows of a query in PostgreSQL's text COPY format: tabs between, one line each."""
    data = BytesIO()
    with connection.cursor() as cursor:
        cursor.copy_expert(sql.SQL("COPY ({}) TO STDOUT").format(query), data, size=1 << 18)
    return data.getvalue()


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """The items in lists of at most `size`."""
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch


def names(columns: Sequence[str], *, of: str | None = None) -> sql.Composed:
    """Column names as identifiers, of one table if given, with commas between."""
    found = [sql.Identifier(of, column) if of else sql.Identifier(column) for column in columns]
    return sql.SQL(", ").join(found)


def lock_until_commit(name: str) -> None:
    """Wait for the named lock; it is free again when the transaction ends."""
    run_sql("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [name])


def take_numbers(series: str, column: str, company: str, count: int) -> int:
    """Take `count` numbers off a company's sequence, in the caller's transaction. The first.

    A rollback gives them back, so there are no gaps. Errors: IntegrityError beyond the largest.
    """
    (following,) = fetch_one(
        sql.SQL(
            "UPDATE {series} SET {column} = {column} + %s WHERE company_id = %s RETURNING {column}"
        ).format(series=sql.Identifier(series), column=sql.Identifier(column)),
        [count, company],
    )
    return int(following) - count


@contextmanager
def by_index() -> Iterator[None]:
    """Have rows looked up by index inside the block, whatever the statistics say.

    A scan of a whole staging table for every chunk would make a large backlog quadratic. What a
    chunk folds has room in memory. A rollback ends it too.
    """
    run_sql("SET LOCAL enable_seqscan = off; SET LOCAL work_mem = '64MB'")
    yield
    run_sql("SET LOCAL enable_seqscan = on; SET LOCAL work_mem TO DEFAULT")


@contextmanager
def in_index_order() -> Iterator[None]:
    """Have the first rows of an order read from its index, however few the statistics expect.

    Else all that is left would be collected and sorted for every chunk. A rollback ends it too.
    """
    run_sql("SET LOCAL enable_bitmapscan = off")
    yield
    run_sql("SET LOCAL enable_bitmapscan = on")


@contextmanager
def by_hash() -> Iterator[None]:
    """Have rows matched by hash inside the block, however few the statistics expect.

    Of what was written a moment ago they know nothing: all would be compared with all. A rollback
    ends it too.
    """
    run_sql("SET LOCAL enable_nestloop = off")
    yield
    run_sql("SET LOCAL enable_nestloop = on")


def in_chunks(work: Callable[[int], bool]) -> None:
    """Have `work` done for so many rows at a time until it says that none was left.

    Each call is one transaction of HQ. A chunk that the database refuses for its data is halved
    until the culprit is alone; then work(0) sets the next row aside. Errors: the database's own
    when it refuses so many that the data cannot be the cause.
    """
    size, refused = CUSTOMERS, 0
    while True:
        try:
            if not patiently(partial(work, size), "a chunk"):
                return
            size = min(CUSTOMERS, 2 * max(size, 1))
        except DatabaseError as error:
            refused += size == 1
            if size == 0 or refused > MOST_REFUSED or not is_about_data(error):
                raise
            logger.warning("a chunk of %s was refused (%s)", size, code_of(error))
            size //= 2


def patiently(work: Callable[[], Done], what: str) -> Done:
    """Do the work, and again, a little later, when another transaction of HQ got in its way.

    Work of many commits goes on from what it has committed, as every step does. Who waited is named
    in the log. Errors: the database's own after the last try.
    """
    for tried in range(1, TRIES):
        try:
            return work()
        except OperationalError as error:
            code = code_of(error)
            if code not in PASSING:
                raise
            logger.warning("%s was in another transaction's way (%s), try %d", what, code, tried)
            # By chance, so that two that met do not meet again.
            time.sleep(uniform(0, LONGEST_PAUSE_S * tried))  # noqa: S311 - no secret
    return work()


def is_about_data(error: BaseException) -> bool:
    """Whether a database refused what was to be written, and not the connection or the server."""
    return code_of(error).startswith(ABOUT_DATA)


def code_of(error: BaseException) -> str:
    """PostgreSQL's code of an error, or nothing."""
    return cause_of(error).pgcode or ""


def cause_of(error: BaseException) -> psycopg2.Error:
    """The driver's own error."""
    found = error.__cause__ if isinstance(error.__cause__, psycopg2.Error) else error
    return found if isinstance(found, psycopg2.Error) else psycopg2.Error()
