"""Test the connection to a channel's database: what works, and the first step that does not.

Nothing is made or changed. It is for somebody who adds a channel or changes an address; visits have
checks of their own.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from stores.channeldb.connect import url
from stores.channeldb.connect.connection import (
    LOSSY_ENCODING,
    applied_migrations,
    connect,
    drift_message,
    missing_migrations,
    require_intact_file,
    translated,
    unknown_migrations,
)
from stores.channeldb.connect.url import Database
from stores.channeldb.errors import ChannelError, ChannelMisconfigured
from stores.channeldb.models import ExchangeState
from stores.channeldb.provision import require_file, require_free_names
from stores.channeldb.schema.drift import differences
from stores.channeldb.schema.grants import may_create_tables, missing_privileges
from stores.messages.message import Message

TITLES = {
    "address": "Address",
    "name": "Name of the server",
    "line": "Connection",
    "sign_in": "User and password",
    "database": "Database",
    "rights": "Privileges",
    "tables": "Tables",
    "owner": "Owner",
}
# What each step says if it works.
PASSED = {
    "address": "check_address",
    "name": "check_name",
    "line": "check_line",
    "sign_in": "check_sign_in",
    "database": "check_database",
    "rights": "check_rights",
    "tables": "check_tables",
    "owner": "check_owner",
}
# The steps that there are for a server of the channel's own, the embedded server, and a file.
SERVER_STEPS = tuple(TITLES)
EMBEDDED_STEPS = ("address", "line", "database", "tables", "owner")
FILE_STEPS = ("address", "database", "rights", "tables", "owner")
# The step that fails with an error, by its code. All others come from what is looked at last.
FAILED_STEPS = {
    "address_refused": "address",
    "channel_name_unknown": "name",
    "channel_line_insecure": "line",
    "channel_no_route": "line",
    "channel_nothing_listens": "line",
    "channel_server_starting": "line",
    "channel_silent": "line",
    "channel_too_many_connections": "line",
    "channel_unreachable": "line",
    "channel_not_let_in": "sign_in",
    "channel_password_refused": "sign_in",
    "channel_turned_away": "sign_in",
    "channel_database_closed": "database",
    "channel_database_gone": "database",
    "channel_encoding_lossy": "database",
    "channel_file_absent": "database",
    "channel_file_damaged": "database",
    "channel_file_gone": "database",
    "channel_file_is_another": "database",
    "channel_denies_privilege": "rights",
    "channel_read_only": "rights",
    "privileges_missing": "rights",
    "table_of_another": "tables",
}
# What helps, by the code of an error.
REMEDIES = {
    "channel_database_closed": "remedy_database_closed",
    "channel_database_gone": "remedy_database_gone",
    "channel_line_insecure": "remedy_line_insecure",
    "channel_name_unknown": "remedy_name_unknown",
    "channel_not_let_in": "remedy_not_let_in",
    "channel_nothing_listens": "remedy_nothing_listens",
    "channel_password_refused": "remedy_password_refused",
    "channel_silent": "remedy_silent",
    "privileges_missing": "remedy_privileges_missing",
}


@dataclass
class Step:
    """One step of the way, in the order in which they are taken."""

    name: str
    # passed, pending (the database or its tables will be made), failed, or skipped.
    outcome: str = "skipped"
    message: Message = field(default_factory=Message)

    @property
    def title(self) -> str:
        return TITLES[self.name]


class ConnectionTest:
    """The steps to a channel's database, and what was found there."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.steps = {name: Step(name) for name in steps_to(database)}
        # Identity and epoch of the database, once it has tables.
        self.identity: tuple[UUID, int] | None = None
        # Whether the database is a copy, which can get an identity of its own.
        self.is_copy = False

    @property
    def is_passed(self) -> bool:
        return all(step.outcome != "failed" for step in self.steps.values())

    @property
    def failure(self) -> Step | None:
        """The step that fails, if there is one."""
        return next((step for step in self.steps.values() if step.outcome == "failed"), None)

    def note(self, name: str, outcome: str, message: Message) -> None:
        if name in self.steps:
            self.steps[name] = Step(name, outcome, message)

    def note_passed(self, *names: str) -> None:
        for name in names:
            self.note(name, "passed", Message(PASSED[name]))

    def note_failed(self, error: ChannelError, at: str) -> None:
        """Let the step fail that the error is about, and pass those before it."""
        code = error.message.sentences[0].code
        failed = FAILED_STEPS.get(code, at)
        if failed == "address" and "host_not_allowed" in str(error.message.data):
            failed = "name"
        if failed not in self.steps:
            failed = next(name for name in self.steps if name in (at, "database"))
        for name in self.steps:
            if name == failed:
                break
            self.note_passed(name)
        remedy = Message(REMEDIES[code]) if code in REMEDIES else Message()
        self.note(failed, "failed", error.message + remedy)


def steps_to(database: Database) -> tuple[str, ...]:
    """The names of the steps, by the form of the address; as on a server if it cannot be read."""
    if url.is_embedded(database):
        return EMBEDDED_STEPS
    try:
        return FILE_STEPS if url.is_sqlite(url.resolved_url(database)) else SERVER_STEPS
    except ChannelError:
        return SERVER_STEPS


def check_database(database: Database, *, is_new: bool = True) -> ConnectionTest:
    """Take the steps to a channel's database, up to the first that fails.

    A database that is not `is_new` has to be there. Whom it belongs to is left to the caller, who
    knows the other channels.
    """
    test = ConnectionTest(database)
    try:
        url.connection_settings(database)
        if not is_new:
            require_file(database)
        with connect(database, migrate=True) as alias:
            check_open_database(test, connections[alias])
    except ChannelError as error:
        if is_new and will_be_made(database, error):
            note_to_be_made(test)
        else:
            test.note_failed(error, at="line")
    return test


def will_be_made(database: Database, error: ChannelError) -> bool:
    """Whether the database is missing only because HQ makes it when it is added."""
    code = error.message.sentences[0].code
    if url.is_embedded(database):
        return code == "channel_database_gone"
    return code == "channel_file_gone" and not url.sqlite_path(database).exists()


def note_to_be_made(test: ConnectionTest) -> None:
    test.note_passed("address", "line")
    test.note("database", "pending", Message("check_database_to_make"))
    test.note("tables", "pending", Message("check_tables_to_make"))
    test.note_passed("owner")


def check_open_database(test: ConnectionTest, wrapper: BaseDatabaseWrapper) -> None:
    """Look at an open database: its encoding, privileges, tables and identity."""
    test.note_passed("address", "name", "line", "sign_in")
    database = test.database
    with failing(test, "database"):
        require_intact_file(database, wrapper)
        require_unicode(database, wrapper)
        test.note_passed("database")
        with translated(database, always=True):
            applied = applied_migrations(wrapper)
            is_ready = bool(applied) and not missing_migrations(applied)
            require_privileges(database, wrapper, is_ready=is_ready)
        test.note_passed("rights")
        check_tables(test, wrapper, applied)


@contextmanager
def failing(test: ConnectionTest, step: str) -> Iterator[None]:
    """Note an error as that of its step, or of this one."""
    try:
        yield
    except ChannelError as error:
        test.note_failed(error, at=step)


def require_unicode(database: Database, wrapper: BaseDatabaseWrapper) -> None:
    """Refuse a database that cannot hold every name. Errors: ChannelMisconfigured."""
    if wrapper.vendor != "postgresql":
        return
    with translated(database, always=True), wrapper.cursor() as cursor:
        cursor.execute("SHOW server_encoding")
        if cursor.fetchone()[0] != "UTF8":
            kind, code = LOSSY_ENCODING
            raise kind(Message(code, channel=database.label))


def require_privileges(database: Database, wrapper: BaseDatabaseWrapper, *, is_ready: bool) -> None:
    """Refuse a role that may not use the tables, or make them. Errors: ChannelMisconfigured."""
    if wrapper.vendor == "sqlite":
        path = url.sqlite_path(database)
        if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
            raise ChannelMisconfigured(Message("channel_read_only", channel=database.label))
        return
    if is_ready:
        missing = missing_privileges(wrapper)
    else:
        missing = [] if may_create_tables(wrapper) else ["CREATE on schema public"]
    if missing:
        raise ChannelMisconfigured(
            Message("privileges_missing", channel=database.label, privileges=missing[:3])
        )


def check_tables(
    test: ConnectionTest, wrapper: BaseDatabaseWrapper, applied: set[tuple[str, str]]
) -> None:
    """Compare the tables with those that this version needs. Effects: the test's steps."""
    database = test.database
    with failing(test, "tables"):
        if newer := unknown_migrations(applied):
            raise ChannelMisconfigured(
                Message("channel_newer", channel=database.label, migration=newer[0])
            )
        if not applied:
            with translated(database, always=True):
                require_free_names(database, wrapper)
            test.note("tables", "pending", Message("check_tables_to_make"))
            return
        if missing_migrations(applied):
            test.note("tables", "pending", Message("check_tables_to_update"))
        else:
            with translated(database, always=True):
                changes = differences(wrapper)
            if changes:
                raise ChannelMisconfigured(drift_message(database, changes))
            test.note_passed("tables")
        with translated(database, always=True):
            state = ExchangeState.objects.using(wrapper.alias).only("database_id", "epoch").get()
        test.identity = state.database_id, state.epoch
