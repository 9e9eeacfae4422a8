"""Tasks in threads with real database connections, and other sessions that hold locks."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from typing import Any, TypeVar

import psycopg2
from django.db import connection, connections

from tests.support.processes import hq_url

T = TypeVar("T")


def run_together(*tasks: Callable[[], T]) -> list[T]:
    """Run tasks at the same moment, each in a thread of its own. Returns their results."""
    barrier = threading.Barrier(len(tasks))

    def run(task: Callable[[], T]) -> T:
        try:
            barrier.wait()
            return task()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(tasks)) as pool:
        return list(pool.map(run, tasks))


def start_in_thread(function: Callable[..., Any], *args: Any) -> "Future[Any]":
    """Call a function in another thread; `result()` waits for it and raises its error."""
    executor = ThreadPoolExecutor(max_workers=1)
    future = executor.submit(lambda: run_together(partial(function, *args))[0])
    executor.shutdown(wait=False)
    return future


@contextmanager
def background() -> Iterator[Callable[[Callable[[], T]], "Future[T]"]]:
    """Yields a function that starts a task in a thread; the task ends before the block does."""
    with ThreadPoolExecutor(1) as pool:
        yield lambda task: pool.submit(lambda: run_together(task)[0])


@contextmanager
def other_session() -> Iterator[Any]:
    """A cursor of another session of HQ's database, in a transaction that ends with the block."""
    with closing(psycopg2.connect(hq_url())) as session, session, session.cursor() as cursor:
        # In a deadlock the other party notices first, and is the victim.
        cursor.execute("SET deadlock_timeout = '60s'")
        yield cursor


def count_blocked_sessions() -> int:
    """How many sessions of HQ's database wait for a lock of another session."""
    with connection.cursor() as cursor:
        # A transaction reads the view once, unless it is told to forget it.
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            """SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0"""
        )
        return int(cursor.fetchone()[0])


def is_blocking(session: Any) -> bool:
    """Whether another session waits for a lock of this session."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))",
            [session.connection.info.backend_pid],
        )
        return bool(cursor.fetchone()[0])
