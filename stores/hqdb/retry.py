"""Do work again that met another transaction, and without the rows that a database refuses."""

import logging
import sqlite3
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from random import uniform
from typing import Any, TypeVar

import psycopg2
from django.db import DatabaseError, OperationalError, connection, transaction
from psycopg2 import errorcodes

from stores.hqdb.sql import Query, fetch_values, run_sql

logger = logging.getLogger(__name__)
# Another transaction got in the way; the same again may well succeed.
TRANSIENT = {
    errorcodes.SERIALIZATION_FAILURE,
    errorcodes.DEADLOCK_DETECTED,
    errorcodes.LOCK_NOT_AVAILABLE,
}
MAX_TRIES = 5
MAX_PAUSE_S = 0.4
# SQLSTATE classes of trouble with the connection, the transaction, the server or its files;
# everything else is said of a row.
SERVER_ERROR_CLASSES = (
    "08",
    "25",
    "26",
    "28",
    "3D",
    "40",
    "53",
    "55",
    "57",
    "58",
    "F0",
    "XX001",
    "XX002",
)
# What a statement of ours gets wrong or may not do; within a function, as in a trigger, a row can
# be the cause.
STATEMENT_ERROR_CLASSES = ("0A", "42")
# Where the server says that an error comes from, when a function raised it: any code can be raised.
RAISED_BY_FUNCTION = "exec_stmt_raise"
# What a SQLite channel says of a row, by its primary code.
SQLITE_DATA_ERRORS = (sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG)
DATABASE_ERRORS = (DatabaseError, psycopg2.Error, sqlite3.Error)

Result = TypeVar("Result")
Key = TypeVar("Key", bound=Hashable)


def in_chunks(work: Callable[[], bool]) -> None:
    """Call `work`, one transaction of HQ each, until it says that nothing was left."""
    while retry_on_conflict(work, "a chunk"):
        pass


def in_savepoint(
    work: Callable[[Sequence[Key] | None], Result], keys: Sequence[Key] | None
) -> Result:
    """Work in a savepoint of HQ, with what would be checked at the commit."""
    with transaction.atomic():
        done = work(keys)
        connection.check_constraints()
        return done


def self_committing(
    work: Callable[[Sequence[Key] | None], Result], keys: Sequence[Key] | None
) -> Result:
    """Work that commits by itself, as a write to a channel does."""
    return work(keys)


def bisect_rows(
    work: Callable[[Sequence[Key] | None], Result],
    keys: Callable[[], Sequence[Key]],
    *,
    attempt: Callable[[Callable[..., Result], Sequence[Key] | None], Result] = in_savepoint,
) -> tuple[list[Result], dict[Key, str]]:
    """Do work for many rows, and without those that a database refuses for what they say.

    `work(None)` does it for all at once. Only when that is refused, `keys()` names the rows, and
    work is given one half and the other, and halves of these, until each culprit is alone. Each try
    is a savepoint of the caller's transaction, unless `attempt` says otherwise.

    Returns what work returned, in the order of the keys, and for each refused key what the database
    said. The caller quarantines these rows. Errors: the database's own when it blames no row.
    """
    try:
        return [attempt(work, None)], {}
    except DATABASE_ERRORS as error:
        if not is_data_error(error):
            raise
        logger.warning("a statement over many rows was refused (%s)", describe_error(error))
    done: list[Result] = []
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
            if not is_data_error(error):
                raise
            if len(part) == 1:
                refused[part[0]] = describe_error(error)
            else:
                half = len(part) // 2
                parts += [part[half:], part[:half]]
    return done, refused


def run_for_rows(
    statement: Query, values: Mapping[str, Any], parameter: str, keys: Query
) -> tuple[int, dict[Any, str]]:
    """Execute a statement for many rows, and without those that the database refuses.

    The statement is given the keys of rows as a further parameter, NULL for all; the query `keys`
    finds them. Returns how many rows it touched, and for each refused key what the database said.
    """

    def run(part: Sequence[Any] | None) -> int:
        return run_sql(statement, {**values, parameter: None if part is None else list(part)})

    done, refused = bisect_rows(run, lambda: fetch_values(keys, values))
    return sum(done), refused


def bisect_keys(
    work: Callable[[Sequence[Key]], Result], keys: Sequence[Key]
) -> tuple[list[Result], dict[Key, str]]:
    """Do work for many rows as bisect_rows() does; `work` is given the keys also of all rows."""
    return bisect_rows(lambda part: work(keys if part is None else part), lambda: keys)


def retry_on_conflict(work: Callable[[], Result], what: str) -> Result:
    """Do the work, and again, a little later, when another transaction of HQ got in its way.

    Work of many commits goes on from what it has committed, as every step does. Who waited is named
    in the log. Errors: the database's own after the last try.
    """
    for attempt in range(1, MAX_TRIES):
        try:
            return work()
        except OperationalError as error:
            code = sqlstate_of(error)
            if code not in TRANSIENT:
                raise
            logger.warning("%s was in another transaction's way (%s), try %d", what, code, attempt)
            # By chance, so that two that met do not meet again.
            time.sleep(uniform(0, MAX_PAUSE_S * attempt))  # noqa: S311 - no secret
    return work()


def is_data_error(error: BaseException) -> bool:
    """Whether a database refused a row, with any code, and not the connection or the server."""
    if (lite := sqlite_extended_code(error)) is not None:
        return lite & 0xFF in SQLITE_DATA_ERRORS
    cause = psycopg2_error(error)
    code = cause.pgcode or ""
    if not code or cause.diag.source_function == RAISED_BY_FUNCTION:
        return bool(code)
    if code.startswith(STATEMENT_ERROR_CLASSES):
        return bool(cause.diag.context)
    return not code.startswith(SERVER_ERROR_CLASSES)


def describe_error(error: BaseException) -> str:
    """What a database said of a row it refused, without its text, which may quote the row."""
    if (code := sqlite_extended_code(error)) is not None:
        return f"SQLite's code {code}"
    cause = psycopg2_error(error)
    facts = [f"SQLSTATE {cause.pgcode}", cause.diag.constraint_name, cause.diag.table_name]
    return ", ".join(fact for fact in facts if fact)[:120]


def sqlite_extended_code(error: BaseException) -> int | None:
    """SQLite's extended code of an error; None if it is not one of SQLite."""
    cause = error.__cause__ if isinstance(error.__cause__, sqlite3.Error) else error
    return getattr(cause, "sqlite_errorcode", 0) if isinstance(cause, sqlite3.Error) else None


def sqlstate_of(error: BaseException) -> str:
    return psycopg2_error(error).pgcode or ""


def psycopg2_error(error: BaseException) -> psycopg2.Error:
    cause = error.__cause__ if isinstance(error.__cause__, psycopg2.Error) else error
    return cause if isinstance(cause, psycopg2.Error) else psycopg2.Error()
