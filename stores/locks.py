"""Locks that die with the process that holds them, and the heartbeat of a run.

They are session-level advisory locks of HQ's PostgreSQL on a connection of their own: a killed
process frees them at once, so nobody waits for the dead and nobody overtakes the living.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Self
from uuid import UUID

import psycopg2
from django.conf import settings
from django.db import connection

ACQUIRE = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
RELEASE = "SELECT pg_advisory_unlock(hashtextextended(%s, 0))"


class Locks:
    """Named locks on one connection of their own; all are freed when it closes."""

    def __enter__(self) -> Self:
        params = connection.get_connection_params()
        self.connection = connection.get_new_connection(params)
        self.connection.autocommit = True
        self.ask("SET lock_timeout = '2s'")
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(psycopg2.Error):
            self.connection.close()

    def acquire(self, name: str) -> bool:
        """Take the lock unless somebody else has it."""
        return bool(self.ask(ACQUIRE, [name]))

    def release(self, name: str) -> None:
        self.ask(RELEASE, [name])

    def ask(self, statement: str, params: list[Any] | None = None) -> Any:
        """The first value that a statement returns, or None."""
        with self.connection.cursor() as cursor:
            cursor.execute(statement, params)
            return cursor.fetchone()[0] if cursor.description else None


def name_of(run_id: UUID) -> str:
    """The lock that a process holds while it executes the run."""
    return f"run:{run_id}"


def is_alive(run_id: UUID) -> bool:
    """Whether some process executes the run at this moment."""
    with connection.cursor() as cursor:
        cursor.execute(ACQUIRE, [name_of(run_id)])
        if not cursor.fetchone()[0]:
            return True
        cursor.execute(RELEASE, [name_of(run_id)])
        return False


@contextmanager
def heartbeat(locks: Locks, run_id: UUID, fencing_no: int) -> Iterator[None]:
    """Renew the run's lease, also while one statement takes long."""
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(settings.RUN_HEARTBEAT_S):
            # The run's own transaction may hold the row; then it has just renewed the lease.
            with suppress(psycopg2.Error):
                locks.ask(
                    """UPDATE job_run SET heartbeat_at = clock_timestamp(),
                              lease_until = clock_timestamp() + %s * interval '1 second'
                        WHERE id = %s AND fencing_no = %s AND status = 'running'""",
                    [settings.RUN_LEASE_S, str(run_id), fencing_no],
                )

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
