"""Damage HQ and channels past every trigger and constraint, as a careless restore could."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management import call_command
from django.db import connection, connections, transaction

from stores.channeldb.connect.connection import connect
from stores.models import ChannelDatabase
from tests.support.hq import empty_hq
from tests.support.promises import failed_checks


def damage(statement: str) -> None:
    """Run a statement in HQ's database without its triggers and foreign keys."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(statement)


def checks_failed_by(statement: str) -> set[str]:
    """The checks that fail after a damage to HQ, which is rolled back."""
    with transaction.atomic():
        damage(statement)
        failed = set(failed_checks())
        transaction.set_rollback(True)
    return failed


def damage_channel(database: ChannelDatabase, *statements: str) -> None:
    """Run statements in a channel without its triggers, which are restored afterwards."""
    with connect(database) as alias, connections[alias].cursor() as cursor:
        if connections[alias].vendor == "postgresql":
            cursor.execute("SET session_replication_role = replica")
        else:
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
            for name, create_trigger in cursor.fetchall():
                cursor.execute(f"DROP TRIGGER {name}")
                statements += (create_trigger,)
        for statement in statements:
            cursor.execute(statement)


@contextmanager
def without_constraint(name: str) -> Iterator[None]:
    """Drop a constraint or unique index of HQ; empty HQ and restore it at the end."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint
                WHERE conname = %s""",
            [name],
        )
        if constraint := cursor.fetchone():
            table, definition = constraint
            drop = f"ALTER TABLE {table} DROP CONSTRAINT {name} CASCADE"
            restore = f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}"
        else:
            cursor.execute("SELECT pg_get_indexdef(%s::regclass)", [name])
            drop, restore = f"DROP INDEX {name}", cursor.fetchone()[0]
        cursor.execute(drop)
    try:
        yield
    finally:
        empty_hq()
        with connection.cursor() as cursor:
            cursor.execute(restore)


def reconcile(capsys, *options: str) -> tuple[int, dict]:
    """Run the command. Returns its exit status and its JSON document."""
    capsys.readouterr()
    status = 0
    try:
        call_command("reconcile", "--json", *options)
    except SystemExit as error:
        status = error.code
    return status, json.loads(capsys.readouterr().out)


def kinds_of_differences(document: dict) -> dict[str, set[str]]:
    """The kinds of differences of each channel that has any."""
    return {
        channel["channel"]: {row["what"] for row in channel["differences"]}
        for channel in document["channels"]
        if channel["differences"]
    }
