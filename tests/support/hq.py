"""HQ's database between two tests."""

import shutil
from functools import cache
from typing import Any

import psycopg2
from django.apps import apps
from django.conf import settings
from django.db import connection

CAST = {
    "houston": ("store", "embedded"),
    "seattle": ("store", "embedded"),
    "web": ("online", "embedded"),
    "popup": ("store", "sqlite:///channels/popup.sqlite3"),
}
# Whose the channels of the cast are, unless a test says otherwise.
COMPANY = "USRT"
# Bytes of a table that more than a handful of rows fill.
LARGE = 30_000
KEPT = {"auth_permission", "django_content_type", "auth_group", "auth_group_permissions"}


def empty_hq() -> None:
    """Remove all rows, past the triggers that would refuse it."""
    name = connection.settings_dict["NAME"]
    try:
        empty(emptying_session(name))
    except (psycopg2.OperationalError, psycopg2.InterfaceError):
        # A test has ended all sessions.
        emptying_session.cache_clear()
        empty(emptying_session(name))
    # The next HQ in this database has issued none of these numbers.
    shutil.rmtree(settings.NUMBER_JOURNAL_DIR, ignore_errors=True)


def empty(session: Any) -> None:
    with session.cursor() as cursor:
        # Deleting is quicker where there is little. A large test would leave the next ones pages
        # of dead rows, and a check that analyzes them statistics from which the server expects
        # nothing where much is written: fewer rows than pages.
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relname = ANY(%s) AND relkind = 'r'"
            " AND (pg_relation_size(oid) > %s OR reltuples BETWEEN 0 AND relpages - 1)",
            [our_tables(), LARGE],
        )
        if large := [table for (table,) in cursor.fetchall()]:
            cursor.execute(f"TRUNCATE {', '.join(large)} CASCADE")
        cursor.execute("SELECT pg_temp.empty_hq()")


@cache
def emptying_session(name: str) -> Any:
    """A session without triggers that plans how to empty each table once.

    To change that setting in the session of the tests would have it plan all statements again.
    """
    session = psycopg2.connect(
        host=str(settings.EMBEDDED.sockets),
        user="syncline",
        dbname=name,
        options="-c session_replication_role=replica -c lock_timeout=30s",
    )
    session.autocommit = True
    emptied = "; ".join(f'DELETE FROM "{table}"' for table in our_tables())  # noqa: S608
    with session.cursor() as cursor:
        cursor.execute(
            f"""CREATE FUNCTION pg_temp.empty_hq() RETURNS void LANGUAGE plpgsql AS $$
                BEGIN {emptied}; END $$"""
        )
    return session


@cache
def our_tables() -> list[str]:
    """The tables whose rows tests write."""
    tables = [
        model._meta.db_table
        for model in apps.get_models(include_auto_created=True)
        # What is not managed is a view of other tables.
        if model._meta.managed and model._meta.app_label not in ("channeldb", "django_rq")
    ]
    return [table for table in tables if table not in KEPT]
