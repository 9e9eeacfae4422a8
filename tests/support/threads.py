"""Work in other threads, each with database connections of its own, and what they wait for."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from django.db import connection, connections


def start_in_thread(function: Callable[..., Any], *args: Any) -> "Future[Any]":
    """Call a function in another thread; `result()` waits for it and raises its error."""

    def call_and_disconnect() -> Any:
        try:
            return function(*args)
        finally:
            connections.close_all()

    executor = ThreadPoolExecutor(max_workers=1)
    future = executor.submit(call_and_disconnect)
    executor.shutdown(wait=False)
    return future


def is_session_blocked() -> bool:
    """Whether a session of HQ's database waits for a lock that another one holds."""
    with connection.cursor() as cursor:
        # A transaction reads the view once, unless it is told to forget it.
        cursor.execute("SELECT pg_stat_clear_snapshot()")
        cursor.execute(
            """SELECT count(*) FROM pg_stat_activity
                WHERE datname = current_database() AND wait_event_type = 'Lock'"""
        )
        return cursor.fetchone()[0] > 0
