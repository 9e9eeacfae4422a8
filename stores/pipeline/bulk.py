"""The mechanics of set-based work in HQ: chunk sizes, statements, COPY, advisory locks.

Statements that are the same for all five kinds of events are written once, with the names put in
as identifiers; a name never comes from outside this code.
"""

import logging
import sqlite3
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from itertools import islice
from random import uniform
from typing import Any, TypeAlias, TypeVar

import psycopg2
from django.db import DatabaseError, OperationalError, connection, transaction
from psycopg2 import errorcodes, sql

logger = logging.getLogger(__name__)

# Rows of each table in one batch of an upload; customers in one chunk of conversion and download.
# Below 1,000 the fixed cost of a transaction shows, above 10,000 a crash repeats too much.
EVENTS = 10_000
CUSTOMERS = 5_000
# Sales in one chunk of validation, orders and statements; each brings some lines and payments.
SALES = 2_000
# Another transaction got in the way; the same again may well succeed.
PASSING = {
    errorcodes.SERIALIZATION_FAILURE,
    errorcodes.DEADLOCK_DETECTED,
    errorcodes.LOCK_NOT_AVAILABLE,
}
TRIES = 5
LONGEST_PAUSE_S = 0.4
# SQLSTATE classes of trouble with the connection, the transaction, the server or its files;
# everything else is said of a row.
TROUBLE = ("08", "25", "26", "28", "3D", "40", "53", "55", "57", "58", "F0", "XX001", "XX002")
# What a statement of ours gets wrong or may not do; within a function, as in a trigger, a row can
# be the cause.
STATEMENT_WRONG = ("0A", "42")
# Where the server says that an error comes from, when a function raised it: any code can be raised.
RAISED = "exec_stmt_raise"
# What a SQLite channel says of a row, by its primary code.
SQLITE_ABOUT_DATA = (sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG)
DATABASE_ERRORS = (DatabaseError, psycopg2.Error, sqlite3.Error)

Done = TypeVar("Done")
Key = TypeVar("Key", bound=Hashable)
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


def in_chunks(work: Callable[[], bool]) -> None:
    """Have `work` done for one chunk after the other until it says that none was left.

    Each call is one transaction of HQ.
    """
    while patiently(work, "a chunk"):
        pass


def checked(work: Callable[[Sequence[Key] | None], Done], keys: Sequence[Key] | None) -> Done:
    """Work in a savepoint of HQ, with what would be checked at the commit."""
    with transaction.atomic():
        done = work(keys)
        connection.check_constraints()
        return done


def committed(work: Callable[[Sequence[Key] | None], Done], keys: Sequence[Key] | None) -> Done:
    """Work that commits by itself, as a write to a channel does."""
    return work(keys)


def by_halves(
    work: Callable[[Sequence[Key] | None], Done],
    keys: Callable[[], Sequence[Key]],
    *,
    attempt: Callable[[Callable[..., Done], Sequence[Key] | None], Done] = checked,
) -> tuple[list[Done], dict[Key, str]]:
    """Do work for many rows, and without those that a database refuses for what they say.

    `work(None)` does it for all at once. Only when that is refused, `keys()` names the rows, and
    work is given one half and the other, and halves of these, until each culprit is alone. Each try
    is a savepoint of the caller's transaction, unless `attempt` says otherwise.

    Returns what work returned, in the order of the keys, and for each refused key what the database
    said. The caller sets these rows aside. Errors: the database's own when it blames no row.
    """
    try:
        return [attempt(work, None)], {}
    except DATABASE_ERRORS as error:
        if not is_about_data(error):
            raise
        logger.warning("a statement over many rows was refused (%s)", diagnosis(error))
    done: list[Done] = []
    refused: dict[Key, str] = {}
    # The first part lies on top.
    parts = [list(keys())]
    while parts:
        part = parts.pop()
        if not part:
            continue
        try:
            done.append(attempt(work, part))
        except DATABASE_ERRORS as error:
            if not is_about_data(error):
                raise
            if len(part) == 1:
                refused[part[0]] = diagnosis(error)
            else:
                half = len(part) // 2
                parts += [part[half:], part[:half]]
    return done, refused


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
    """Whether a database refused what was to be written, and not the connection or the server.

    A trigger may refuse a row with any code, so there is no list of those that blame one.
    """
    if (lite := sqlite_code(error)) is not None:
        return lite & 0xFF in SQLITE_ABOUT_DATA
    cause = cause_of(error)
    code = cause.pgcode or ""
    if not code or cause.diag.source_function == RAISED:
        return bool(code)
    if code.startswith(STATEMENT_WRONG):
        return bool(cause.diag.context)
    return not code.startswith(TROUBLE)


def diagnosis(error: BaseException) -> str:
    """What a database said of a row it refused, without its text, which may quote the row."""
    if (code := sqlite_code(error)) is not None:
        return f"SQLite's code {code}"
    cause = cause_of(error)
    facts = [f"SQLSTATE {cause.pgcode}", cause.diag.constraint_name, cause.diag.table_name]
    return ", ".join(fact for fact in facts if fact)[:120]


def sqlite_code(error: BaseException) -> int | None:
    """SQLite's extended code of an error; None if it is not one of SQLite."""
    found = error.__cause__ if isinstance(error.__cause__, sqlite3.Error) else error
    return getattr(found, "sqlite_errorcode", 0) if isinstance(found, sqlite3.Error) else None


def code_of(error: BaseException) -> str:
    """PostgreSQL's code of an error, or nothing."""
    return cause_of(error).pgcode or ""


def cause_of(error: BaseException) -> psycopg2.Error:
    """The driver's own error."""
    found = error.__cause__ if isinstance(error.__cause__, psycopg2.Error) else error
    return found if isinstance(found, psycopg2.Error) else psycopg2.Error()
