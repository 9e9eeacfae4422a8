"""Locks that die with the process that holds them, and the heartbeat of those who take part.

They are session-level advisory locks of HQ's PostgreSQL on a connection of their own: a killed
process frees them at once, so nobody waits for the dead and nobody overtakes the living.
"""

import os
import secrets
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Self
from uuid import UUID

import psycopg2
from django.conf import settings
from django.db import DatabaseError, connection

from stores.hqdb.threads import set_application_name

ACQUIRE = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
ACQUIRE_SHARED = "SELECT pg_advisory_lock_shared(hashtextextended(%s, 0))"
RELEASE = "SELECT pg_advisory_unlock(hashtextextended(%s, 0))"
# Who holds which of these names; looking takes no lock, so that a look disturbs nobody.
LOCK_HOLDERS = """
    SELECT named.name, held.pid
      FROM unnest(%s::text[]) named (name)
      JOIN pg_locks held
        ON (held.classid::bigint << 32 | held.objid::bigint) = hashtextextended(named.name, 0)
     WHERE held.locktype = 'advisory' AND held.objsubid = 1 AND held.granted
       AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())"""


class Locks:
    """Named locks on one connection of their own; all are freed when it closes."""

    def __enter__(self) -> Self:
        # Unlike any other process, also one of another computer and one that had its number.
        self.worker = f"{socket.gethostname()[:32]}:{os.getpid()}-{secrets.token_hex(3)}"
        params = connection.get_connection_params() | {"application_name": self.worker}
        self.connection = connection.get_new_connection(params)
        self.connection.autocommit = True
        self.fetch_value("SET lock_timeout = '2s'")
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(psycopg2.Error):
            self.connection.close()

    def acquire(self, name: str) -> bool:
        """Take the lock unless somebody else has it."""
        return bool(self.fetch_value(ACQUIRE, [name]))

    def release(self, name: str) -> None:
        """Free the lock; it is free already if the connection is gone."""
        with suppress(psycopg2.Error):
            self.fetch_value(RELEASE, [name])

    def acquire_shared(self, name: str) -> None:
        """Take the lock together with others who do the same."""
        self.fetch_value(ACQUIRE_SHARED, [name])

    def fetch_value(self, statement: str, params: list[Any] | None = None) -> Any:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, params)
            return cursor.fetchone()[0] if cursor.description else None


def leader_lock(run_id: UUID) -> str:
    return f"run:{run_id}"


def participants_lock(run_id: UUID) -> str:
    return f"participants:{run_id}"


def lock_holders(names: Sequence[str]) -> list[tuple[str, int]]:
    """Each of the names that is locked, with the connection that holds it; shared ones often."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK_HOLDERS, [list(names)])
        return [(name, pid) for name, pid in cursor.fetchall()]


def is_alive(run_id: UUID) -> bool:
    return bool(lock_holders([leader_lock(run_id)]))


def participant_count(run_id: UUID) -> int:
    return len(lock_holders([participants_lock(run_id)]))


def terminate_connections(workers: Sequence[str]) -> None:
    """End the connections of processes that have been silent for too long.

    What they had open is rolled back, and their locks are free. A process that is merely frozen
    finds this out when it wakes up.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE application_name = ANY(%s) AND pid <> pg_backend_pid()""",
            [[worker for worker in workers if worker]],
        )


@contextmanager
def connection_named(worker: str) -> Iterator[None]:
    """Let HQ know this thread's connection by the worker's name, so that it can be cut off."""
    set_application_name(worker)
    try:
        yield
    finally:
        connection.close_if_unusable_or_obsolete()
        with suppress(DatabaseError):
            set_application_name("syncline")


@contextmanager
def heartbeat(locks: Locks, run_id: UUID) -> Iterator[None]:
    """Renew the leases of this worker's part of the run, also while one statement takes long."""
    stop = threading.Event()
    renew = """SET heartbeat_at = clock_timestamp(),
                   lease_until = clock_timestamp() + %s * interval '1 second'
             WHERE {} = %s AND worker = %s AND status = 'running'"""
    params = [settings.RUN_LEASE_S, str(run_id), locks.worker]

    def beat() -> None:
        while not stop.wait(settings.RUN_HEARTBEAT_S):
            # Somebody may be taking over one of them; then it is not ours to renew.
            with suppress(psycopg2.Error):
                locks.fetch_value("UPDATE run_step " + renew.format("run_id"), params)
            with suppress(psycopg2.Error):
                locks.fetch_value("UPDATE job_run " + renew.format("id"), params)

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
