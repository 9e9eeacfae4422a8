"""Databases of the embedded server: copied, renamed and dropped without waiting.

The server does each of these only when all sessions have left the database, and looks whether they
have ten times a second. Tests do it thousands of times, right after sessions that are just ending.
"""

import time

from tests.support.channels import on_server

LEAVE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'"
LOOK_EVERY_S, GIVE_UP_S = 0.002, 10


def end_sessions(name: str) -> None:
    """End all sessions in a database. Returns when they are gone, or after ten seconds."""
    give_up = time.monotonic() + GIVE_UP_S
    while on_server(LEAVE.format(name)) and time.monotonic() < give_up:
        time.sleep(LOOK_EVERY_S)


def drop_database(name: str) -> None:
    """Drop a database if it exists, whoever is connected to it."""
    end_sessions(name)
    on_server(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


def rename_database(name: str, new: str) -> None:
    end_sessions(name)
    on_server(f"ALTER DATABASE {name} RENAME TO {new}")


def copy_database(original: str, copy: str) -> None:
    """Replace the database `copy`, if there is one, by a copy of the original."""
    drop_database(copy)
    end_sessions(original)
    # Copies files instead of logging every page: half the time, and a test keeps no log.
    on_server(f"CREATE DATABASE {copy} TEMPLATE {original} STRATEGY FILE_COPY")
