"""Locks that die with the process that holds them, and the leases of a worker.

They are session-level advisory locks of HQ's PostgreSQL on a connection of their own: a killed
process frees them at once, so nobody waits for the dead and nobody overtakes the living.
"""

import os
import secrets
import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Self

import psycopg2
from django.conf import settings
from django.db import DatabaseError, connection

from stores.heartbeat import heartbeat
from stores.hqdb.sql import fetch

ACQUIRE = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
RELEASE = "SELECT pg_advisory_unlock(hashtextextended(%s, 0))"
# Who holds which of these names; looking takes no lock, so that a look disturbs nobody.
LOCK_HOLDERS = """
    SELECT named.name, held.pid
      FROM unnest(%s::text[]) named (name)
      JOIN pg_locks held
        ON (held.classid::bigint << 32 | held.objid::bigint) = hashtextextended(named.name, 0)
     WHERE held.locktype = 'advisory' AND held.objsubid = 1 AND held.granted
       AND held.database = (SELECT oid FROM pg_database WHERE datname = current_database())"""

RENEW_LEASES = """
    UPDATE run_step
       SET heartbeat_at = clock_timestamp(),
           lease_until = clock_timestamp() + %s * interval '1 second'
     WHERE status = 'running' AND worker = %s"""


class Locks:
    """Named locks on one connection of their own; all are freed when it closes.

    One of them bears the worker's own name: others see by it that the process lives.
    """

    def __enter__(self) -> Self:
        # Unlike any other process, also one of another computer and one that had its number.
        self.worker = f"{process_prefix(os.getpid())}{secrets.token_hex(3)}"
        params = connection.get_connection_params() | {"application_name": self.worker}
        params["options"] += " -c lock_timeout=2s"
        self.connection = connection.get_new_connection(params)
        self.connection.autocommit = True
        self.acquire(worker_lock(self.worker))
        return self

    def __exit__(self, *error: object) -> None:
        with suppress(psycopg2.Error):
            # The server frees those of a closed connection a moment later, and whoever comes
            # within it would find us busy.
            self.fetch_value("SELECT pg_advisory_unlock_all()")
        self.connection.close()

    def acquire(self, name: str) -> bool:
        """Take the lock unless somebody else has it."""
        return bool(self.fetch_value(ACQUIRE, [name]))

    @contextmanager
    def held(self, name: str) -> Iterator[bool]:
        """Take the lock for a while unless somebody else has it; says whether it is ours."""
        is_ours = self.acquire(name)
        try:
            yield is_ours
        finally:
            # It is free already if the connection is gone.
            with suppress(psycopg2.Error):
                if is_ours:
                    self.fetch_value(RELEASE, [name])

    def renew_leases(self) -> float:
        """Let others know that this worker lives; in how many seconds it has to do so again."""
        # Somebody may be taking over one of them; then it is not ours to renew.
        with suppress(psycopg2.Error):
            self.fetch_value(RENEW_LEASES, [settings.RUN_LEASE_S, self.worker])
        return settings.RUN_HEARTBEAT_S

    def fetch_value(self, statement: str, params: list[Any] | None = None) -> Any:
        with self.connection.cursor() as cursor:
            cursor.execute(statement, params)
            return cursor.fetchone()[0] if cursor.description else None


def process_prefix(pid: int) -> str:
    """What the names of workers begin with that are this process of this computer."""
    return f"{socket.gethostname()[:32]}:{pid}-"


def worker_lock(worker: str) -> str:
    """The lock that a worker holds for as long as it lives."""
    return f"worker:{worker}"


def lock_holders(names: Sequence[str]) -> list[tuple[str, int]]:
    """Each of the names that is locked, with the connection that holds it; shared ones often."""
    return fetch(LOCK_HOLDERS, [list(names)])


def living(workers: Iterable[str]) -> set[str]:
    """Those of the workers whose process lives, as far as HQ's server can tell."""
    names = {worker_lock(worker): worker for worker in workers}
    return {names[name] for name, _ in lock_holders(list(names))}


def terminate_connections(workers: Sequence[str]) -> None:
    """End the connections of processes that have been silent for too long.

    What they had open is rolled back, and their locks are free. A process that is merely frozen
    finds this out when it wakes up.
    """
    fetch(
        """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE application_name = ANY(%s) AND pid <> pg_backend_pid()""",
        [[worker for worker in workers if worker]],
    )


def set_application_name(name: str) -> None:
    fetch("SELECT set_config('application_name', %s, false)", [name])


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
def leases_renewed(locks: Locks) -> Iterator[None]:
    """Renew the leases of this worker's steps, also while one statement takes long."""
    heartbeat.add(locks.renew_leases, settings.RUN_HEARTBEAT_S)
    try:
        yield
    finally:
        heartbeat.remove(locks.renew_leases)
