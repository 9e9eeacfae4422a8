"""Connections that give up: no statement takes longer than a channel is allowed.

PostgreSQL keeps statement_timeout by itself, as long as the line is there. Behind a line that takes
everything and answers nothing neither that nor a limit of libpq or of the kernel ends the wait. So
the heartbeat of the process cuts the line when the server should have spoken long ago. SQLite works
in our own process and is asked to stop.

Units: seconds.
"""

import os
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any

import psycopg2
from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg2 import extensions

from stores.heartbeat import heartbeat

# How many steps of SQLite's machine are done between two looks at the clock: about a millisecond.
PROGRESS_STEPS = 20_000
# No value of a channel needs more; one that has more is left where it is.
MAX_VALUE_BYTES = 8 << 20


def extend_timeout(wrapper: BaseDatabaseWrapper, seconds: int) -> None:
    """Let statements of an open channel take longer, such as those that read all of it.

    Effects: the open connection, until it is closed.
    """
    wrapper.ensure_connection()
    if wrapper.vendor == "postgresql":
        with wrapper.cursor() as cursor:
            cursor.execute("SET statement_timeout = %s", [seconds * 1000])
        seconds += settings.CHANNEL_GRACE_S
    wrapper.connection.limit_s = seconds


# ---------------------------------------------------------------- PostgreSQL


class WatchedConnection(extensions.connection):
    """A connection that is cut when a statement takes longer than its server may let it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.limit_s: float = settings.CHANNEL_STATEMENT_S + settings.CHANNEL_GRACE_S
        self._since: float | None = None
        heartbeat.add(self.cut_if_overdue, self.limit_s)

    @contextmanager
    def statement(self) -> Iterator[None]:
        """Watch what happens inside: the server has to answer."""
        self._since = monotonic()
        try:
            yield
        finally:
            self._since = None

    def commit(self) -> None:
        with self.statement():
            super().commit()

    def rollback(self) -> None:
        with self.statement():
            super().rollback()

    def close(self) -> None:
        heartbeat.remove(self.cut_if_overdue)
        super().close()

    def cut_if_overdue(self) -> float:
        """Cut the line if the server should have answered by now.

        Returns in how many seconds it can be overdue, or overdue again.
        """
        since = self._since
        if since is None:
            return self.limit_s
        seconds = since + self.limit_s - monotonic()
        if seconds > 0:
            return seconds
        self._cut()
        return self.limit_s

    def _cut(self) -> None:
        """End the line, which wakes the driver up; it then finds the server gone."""
        with suppress(OSError, psycopg2.Error), socket.socket(fileno=os.dup(self.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)


class WatchedCursor(extensions.cursor):
    """Every way in which a cursor asks the server something."""

    connection: WatchedConnection

    def execute(self, *args: Any, **kwargs: Any) -> None:
        with self.connection.statement():
            super().execute(*args, **kwargs)

    def executemany(self, *args: Any, **kwargs: Any) -> None:
        with self.connection.statement():
            super().executemany(*args, **kwargs)

    def fetchmany(self, *args: Any, **kwargs: Any) -> Any:
        with self.connection.statement():
            return super().fetchmany(*args, **kwargs)

    def copy_expert(self, *args: Any, **kwargs: Any) -> None:
        with self.connection.statement():
            super().copy_expert(*args, **kwargs)


# -------------------------------------------------------------------- SQLite


class LimitedConnection(sqlite3.Connection):
    """A connection whose statements stop when they take too long, and that reads no giant value."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.limit_s: float = settings.CHANNEL_STATEMENT_S
        self._since = monotonic()
        self.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
        self.set_progress_handler(self._is_late, PROGRESS_STEPS)

    def _is_late(self) -> bool:
        return monotonic() - self._since > self.limit_s

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        self._since = monotonic()
        return super().cursor(*args, **kwargs)

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        self._since = monotonic()
        return super().execute(*args, **kwargs)

    def executemany(self, *args: Any, **kwargs: Any) -> Any:
        self._since = monotonic()
        return super().executemany(*args, **kwargs)
