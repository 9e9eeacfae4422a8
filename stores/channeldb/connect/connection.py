"""Open a channel's database for one `with` block; the only place that meets a driver's errors.

Channels are rows, so their databases are not in DATABASES. `connect` puts a connection into
Django's handler for this thread and takes it out again: nothing leaks between threads, runs or
tests. Inside the block `Model.objects.using(alias)`, `atomic(using=alias)` and, for bulk work, the
driver's own connection `connections[alias].connection` work.
"""

import re
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import psycopg2
from django.db import DEFAULT_DB_ALIAS, connections
from django.db import Error as DjangoError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.utils import load_backend
from psycopg2 import errorcodes

from stores.channeldb.connect.hosts import resolve_and_pin
from stores.channeldb.connect.timeouts import extend_timeout
from stores.channeldb.connect.url import Database, connection_settings, refusal
from stores.channeldb.errors import (
    ChannelAlreadyOpen,
    ChannelBusy,
    ChannelDrifted,
    ChannelError,
    ChannelMisconfigured,
    ChannelNotChosen,
    ChannelUnmigrated,
    ChannelUnreachable,
)
from stores.channeldb.router import ALIAS, APP
from stores.channeldb.schema.drift import can_be_recreated, differences
from stores.channeldb.schema.tables import LATER_COLUMNS, NO_COLUMNS
from stores.channeldb.schema.unchanged import is_unchanged, needed_migrations
from stores.hqdb.retry import sqlite_extended_code, sqlstate_of
from stores.messages.message import Message

DRIVER_ERRORS = (DjangoError, psycopg2.Error, sqlite3.Error)
# Trouble that has a sentence of its own, by PostgreSQL's state or SQLite's primary code.
DATABASE_BUSY = (ChannelBusy, "channel_busy")
DATABASE_READ_ONLY = (ChannelUnreachable, "channel_read_only")
DISK_FULL = (ChannelUnreachable, "channel_full")
TOO_MANY_CONNECTIONS = (ChannelBusy, "channel_too_many_connections")
STATEMENT_TIMED_OUT = (ChannelBusy, "channel_too_slow")
FILE_DAMAGED = (ChannelUnreachable, "channel_file_damaged")
NOT_A_DATABASE = (ChannelUnreachable, "channel_file_is_another")
LOSSY_ENCODING = (ChannelMisconfigured, "channel_encoding_lossy")
UNDECODABLE_TEXT = (ChannelMisconfigured, "channel_text_invalid")
PERMISSION_DENIED = (ChannelMisconfigured, "channel_denies_privilege")
FILE_GONE = (ChannelUnreachable, "channel_file_gone")
ERRORS_BY_CODE: dict[str | int, tuple[type[ChannelError], str]] = {
    errorcodes.LOCK_NOT_AVAILABLE: DATABASE_BUSY,
    errorcodes.DEADLOCK_DETECTED: DATABASE_BUSY,
    errorcodes.SERIALIZATION_FAILURE: DATABASE_BUSY,
    errorcodes.QUERY_CANCELED: STATEMENT_TIMED_OUT,
    errorcodes.IDLE_IN_TRANSACTION_SESSION_TIMEOUT: DATABASE_BUSY,
    errorcodes.READ_ONLY_SQL_TRANSACTION: DATABASE_READ_ONLY,
    errorcodes.DISK_FULL: DISK_FULL,
    errorcodes.TOO_MANY_CONNECTIONS: TOO_MANY_CONNECTIONS,
    errorcodes.INSUFFICIENT_PRIVILEGE: PERMISSION_DENIED,
    errorcodes.UNTRANSLATABLE_CHARACTER: LOSSY_ENCODING,
    errorcodes.CHARACTER_NOT_IN_REPERTOIRE: UNDECODABLE_TEXT,
    sqlite3.SQLITE_BUSY: DATABASE_BUSY,
    sqlite3.SQLITE_LOCKED: DATABASE_BUSY,
    sqlite3.SQLITE_READONLY: DATABASE_READ_ONLY,
    sqlite3.SQLITE_FULL: DISK_FULL,
    sqlite3.SQLITE_INTERRUPT: STATEMENT_TIMED_OUT,
    sqlite3.SQLITE_CORRUPT: FILE_DAMAGED,
    sqlite3.SQLITE_NOTADB: NOT_A_DATABASE,
    sqlite3.SQLITE_CANTOPEN: FILE_GONE,
}
# Of a connection that fails the driver keeps the words and drops the state. Those of libpq are in
# English; those of a server may not be, and are then only known as such by the last entry.
CAUSES_BY_WORDS: tuple[tuple[str, tuple[type[ChannelError], str]], ...] = (
    (
        r"FATAL: .*(too many (connections|clients)|connection slots are reserved)",
        TOO_MANY_CONNECTIONS,
    ),
    (r"FATAL: .*database .* does not exist", (ChannelUnreachable, "channel_database_gone")),
    (
        r"FATAL: .*(permission denied for database|not currently accepting connections)",
        (ChannelUnreachable, "channel_database_closed"),
    ),
    (
        r"FATAL: .*(password authentication failed|role .* (does not exist|is not permitted)"
        r"|authentication failed)|no password supplied|authentication method requirement",
        (ChannelUnreachable, "channel_password_refused"),
    ),
    (r"FATAL: .*pg_hba\.conf", (ChannelUnreachable, "channel_not_let_in")),
    (
        r"FATAL: .*(starting up|shutting down|recovery)",
        (ChannelUnreachable, "channel_server_starting"),
    ),
    (r"FATAL: ", (ChannelUnreachable, "channel_turned_away")),
    (r"\bSSL\b|certificate", (ChannelUnreachable, "channel_line_insecure")),
    (
        r"Connection refused|failed: No such file or directory",
        (ChannelUnreachable, "channel_nothing_listens"),
    ),
    (r"timeout expired|timed out", (ChannelUnreachable, "channel_silent")),
    (r"No route to host|is unreachable", (ChannelUnreachable, "channel_no_route")),
)
# Classes of states, and SQLite's codes, that are about the server, the file or the line.
UNREACHABLE_CLASSES = ("08", "53", "57", "58")
SQLITE_UNREACHABLE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_INTERRUPT,
}
# What a check of a whole file may take, in seconds.
FILE_CHECK_TIMEOUT_S = 600

_open = threading.local()


@contextmanager
def connect(database: Database | None, *, migrate: bool = False) -> Iterator[str]:
    """Open the channel's database in this thread and yield its alias, such as "channel-7".

    With `migrate` the tables may still be missing, or other ones. Trouble with the channel inside
    the block comes out as ChannelUnreachable; errors of HQ's own database and of single rows pass
    as they are.

    Errors: ChannelNotChosen, ChannelMisconfigured, ChannelUnreachable, ChannelUnmigrated,
    ChannelDrifted, ChannelAlreadyOpen.
    """
    if database is None or database.pk is None:
        raise ChannelNotChosen
    alias = alias_of(database)
    with registered_connection(database, alias) as wrapper:
        if migrate or not is_current(database, wrapper):
            require_channel(database, wrapper, migrate=migrate)
            if not migrate:
                require_schema(database, wrapper)
        at_first = wrapper.connection
        try:
            yield alias
        except DRIVER_ERRORS as error:
            if is_from_channel((at_first, wrapper.connection), error):
                raise_translated(database, error)
            raise


def alias_of(database: Database) -> str:
    """The name under which the channel is open while it is open."""
    return f"{ALIAS}{database.pk}"


@contextmanager
def registered_connection(database: Database, alias: str) -> Iterator[BaseDatabaseWrapper]:
    """Put a fresh connection into Django's handler; close and remove it at the end."""
    here = _open.__dict__.setdefault("aliases", set())
    if alias in here:
        raise ChannelAlreadyOpen(Message("channel_already_open", channel=database.label))
    wrapper = new_wrapper(alias, resolve_and_pin(database, connection_settings(database)))
    here.add(alias)
    connections[alias] = wrapper
    try:
        with translated(database, always=True):
            wrapper.ensure_connection()
        yield wrapper
    finally:
        here.discard(alias)
        del connections[alias]
        close_quietly(wrapper)


def new_wrapper(alias: str, conf: dict[str, Any]) -> BaseDatabaseWrapper:
    """A connection that Django does not know yet; it opens at its first use."""
    placeholder: dict[str, Any] = {}
    known = connections.configure_settings({DEFAULT_DB_ALIAS: placeholder, alias: conf})
    wrapper: BaseDatabaseWrapper = load_backend(conf["ENGINE"]).DatabaseWrapper(known[alias], alias)
    return wrapper


def close_quietly(wrapper: BaseDatabaseWrapper) -> None:
    """Close, also in the middle of a transaction or on a dead line: the work is over."""
    wrapper.in_atomic_block = False
    try:
        wrapper.close()
    except DRIVER_ERRORS:
        wrapper.connection = None


# ------------------------------------------------------------------- tables


def is_current(database: Database, wrapper: BaseDatabaseWrapper) -> bool:
    """Whether one look shows that a channel has all migrations and is as these made it.

    SQLite, which is no trip away, has no such look. Errors: ChannelUnreachable.
    """
    if wrapper.vendor != "postgresql":
        return False
    with translated(database, always=True):
        is_as_made = is_unchanged(wrapper, NO_COLUMNS)
    if is_as_made:
        note_lacking(wrapper.alias, frozenset())
    return is_as_made


def missing_migrations(applied: set[tuple[str, str]]) -> frozenset[str]:
    """Those migrations that a database with these, by app and name, still needs."""
    return needed_migrations() - {name for app, name in applied if app == APP}


def lacking_columns(alias: str) -> frozenset[str]:
    """The optional columns that an open channel lacks, because it is of an older version."""
    lacking: frozenset[str] = _open.__dict__.get("lacking", {}).get(alias, NO_COLUMNS)
    return lacking


def note_lacking(alias: str, missing: frozenset[str]) -> None:
    """Note which optional columns a channel lacks that still needs some migrations."""
    lacking = [LATER_COLUMNS[name] for name in missing & LATER_COLUMNS.keys()]
    _open.__dict__.setdefault("lacking", {})[alias] = NO_COLUMNS.union(*lacking)


def unknown_migrations(applied: set[tuple[str, str]]) -> list[str]:
    """Those migrations of a database that only a newer version of Syncline knows."""
    return sorted({name for app, name in applied if app == APP} - needed_migrations())


def require_channel(database: Database, wrapper: BaseDatabaseWrapper, *, migrate: bool) -> None:
    """Refuse HQ's own database, and one without our tables unless they are about to be made.

    Errors: ChannelUnmigrated, ChannelMisconfigured, ChannelUnreachable.
    """
    with translated(database, always=True):
        applied = applied_migrations(wrapper)
    if "stores" in {app for app, _ in applied}:
        raise refusal(database, Message("address_of_hq"))
    missing = missing_migrations(applied)
    note_lacking(wrapper.alias, missing)
    if not migrate and missing - LATER_COLUMNS.keys():
        code = database.label.split("/")[0]
        raise ChannelUnmigrated(Message("channel_unmigrated", channel=database.label, code=code))


def require_schema(database: Database, wrapper: BaseDatabaseWrapper) -> None:
    """Refuse tables that were changed, before anything is read of them.

    Errors: ChannelDrifted, whose sentence names the first difference; ChannelUnreachable.
    """
    with translated(database, always=True):
        changes = differences(wrapper, lacking=lacking_columns(wrapper.alias))
    if changes:
        raise ChannelDrifted(drift_message(database, changes), changes)


def drift_message(database: Database, changes: list[str]) -> Message:
    """The first difference, how many more there are, and the remedy if there is one."""
    channel, first, more = database.label, changes[0], len(changes) - 1
    message = (
        Message("channel_drifted_more", channel=channel, first=first, count=more)
        if more
        else Message("channel_drifted", channel=channel, first=first)
    )
    if can_be_recreated(changes):
        message += Message("recreate_tables", code=channel.split("/")[0])
    return message


def require_intact_file(database: Database, wrapper: BaseDatabaseWrapper) -> None:
    """Refuse a damaged SQLite file: asked at first contact, and after a visit that failed.

    Errors: ChannelUnreachable.
    """
    if wrapper.vendor != "sqlite":
        return
    extend_timeout(wrapper, FILE_CHECK_TIMEOUT_S)
    with translated(database, always=True), wrapper.cursor() as cursor:
        cursor.execute("PRAGMA quick_check(1)")
        if cursor.fetchone()[0] != "ok":
            kind, code = FILE_DAMAGED
            raise kind(Message(code, channel=database.label))


def applied_migrations(wrapper: BaseDatabaseWrapper) -> set[tuple[str, str]]:
    """App and name of the migrations that the database has seen; empty without their table."""
    exists = {
        "postgresql": "SELECT to_regclass('public.django_migrations') IS NOT NULL",
        "sqlite": "SELECT count(*) FROM sqlite_master WHERE name = 'django_migrations'",
    }
    with wrapper.cursor() as cursor:
        cursor.execute(exists[wrapper.vendor])
        if not cursor.fetchone()[0]:
            return set()
        cursor.execute(
            "SELECT app, name FROM django_migrations WHERE app IN ('channeldb', 'stores')"
        )
        return set(cursor.fetchall())


# ------------------------------------------------------------------- errors


@contextmanager
def translated(database: Database, *, always: bool = False) -> Iterator[None]:
    """Turn trouble with the channel's server, file or line into ChannelUnreachable or ChannelBusy.

    For blocks that talk to this channel only. Errors about a row or a statement pass as they are,
    for a caller that tries the rows one by one; with `always` every driver error is translated.
    Errors: ChannelUnreachable, ChannelBusy.
    """
    try:
        yield
    except DRIVER_ERRORS as error:
        if always or is_connection_error(error):
            raise_translated(database, error)
        raise


def raise_translated(database: Database, error: Exception) -> NoReturn:
    """Say in our words what the driver said in its own.

    Errors: ChannelUnreachable, ChannelBusy, ChannelMisconfigured.
    """
    known = ERRORS_BY_CODE.get(sqlstate_of(error) or sqlite_primary_code(error))
    kind, code = known or cause_by_words(error)
    raise kind(Message(code, channel=database.label)) from None


def is_connection_error(error: Exception) -> bool:
    """Whether an error is about the server, the file or the line, not about a row or statement."""
    driver = driver_error(error)
    if state := sqlstate_of(error):
        return state in ERRORS_BY_CODE or state.startswith(UNREACHABLE_CLASSES)
    if isinstance(driver, sqlite3.Error):
        return sqlite_primary_code(error) in SQLITE_UNREACHABLE
    # Without a state the server did not speak: the line is gone, or was closed before.
    return isinstance(driver, (psycopg2.OperationalError, psycopg2.InterfaceError))


def cause_by_words(error: Exception) -> tuple[type[ChannelError], str]:
    """Why a connection failed, by the words of libpq and of the server."""
    words = str(driver_error(error))
    causes = (cause for pattern, cause in CAUSES_BY_WORDS if re.search(pattern, words))
    return next(causes, (ChannelUnreachable, "channel_unreachable"))


def is_from_channel(ours: tuple[Any, ...], error: Exception) -> bool:
    """Whether an error that leaves the block is trouble of this channel, and not of HQ.

    `ours` are the driver's connections: Django drops one that died within a transaction.
    """
    driver = driver_error(error)
    if not is_connection_error(error):
        return False
    if isinstance(driver, sqlite3.Error):
        return any(isinstance(connection, sqlite3.Connection) for connection in ours)
    # psycopg2 keeps the cursor of a failed statement; a failed COMMIT has none, but a dead line.
    cursor = getattr(driver, "cursor", None)
    if cursor is not None:
        return any(cursor.connection is connection for connection in ours if connection is not None)
    return any(getattr(connection, "closed", 0) for connection in ours)


def driver_error(error: Exception) -> BaseException:
    return error.__cause__ if isinstance(error, DjangoError) and error.__cause__ else error


def sqlite_primary_code(error: Exception) -> int:
    """SQLite's primary code of the error, or 0: every extended code ends in its primary one."""
    return (sqlite_extended_code(error) or 0) & 0xFF
