"""Damage to HQ and channels past all triggers, as a careless restore could do it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management import call_command
from django.db import connection, connections, transaction

from stores.channeldb.connect.connection import connect
from stores.models import ChannelDatabase
from stores.pipeline.integrity.verify import Check, verify
from tests.support.hq import empty_hq


def broken() -> dict[str, list[dict]]:
    return {check.id: check.offending for check in verify() if not check.ok}


def check(id: str) -> Check:
    return next(check for check in verify() if check.id == id)


def damage(statement: str) -> None:
    """Change HQ past all triggers and foreign keys."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(statement)


def broken_by(statement: str) -> set[str]:
    """What a damage to HQ breaks; HQ is whole again afterwards."""
    with transaction.atomic():
        damage(statement)
        found = set(broken())
        transaction.set_rollback(True)
    return found


def damage_channel(database: ChannelDatabase, *statements: str) -> None:
    """Change a channel without its triggers, which are there again afterwards."""
    with connect(database) as alias, connections[alias].cursor() as cursor:
        if connections[alias].vendor == "postgresql":
            cursor.execute("SET session_replication_role = replica")
        else:
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
            for name, again in cursor.fetchall():
                cursor.execute(f"DROP TRIGGER {name}")
                statements += (again,)
        for statement in statements:
            cursor.execute(statement)


@contextmanager
def without(name: str) -> Iterator[None]:
    """HQ lacks a constraint or unique index; afterwards it is empty and has it again."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint
                WHERE conname = %s""",
            [name],
        )
        if found := cursor.fetchone():
            drop = f"ALTER TABLE {found[0]} DROP CONSTRAINT {name} CASCADE"
            restore = f"ALTER TABLE {found[0]} ADD CONSTRAINT {name} {found[1]}"
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


def reconciled(capsys, *options: str) -> tuple[int, dict]:
    """The exit status of the command, and what it found."""
    capsys.readouterr()
    try:
        call_command("reconcile", "--json", *options)
    except SystemExit as end:
        return end.code, json.loads(capsys.readouterr().out)
    return 0, json.loads(capsys.readouterr().out)


def named(checks: dict) -> dict[str, set[str]]:
    """The kinds of differences of each channel."""
    return {
        channel["channel"]: {row["what"] for row in channel["differences"]}
        for channel in checks["channels"]
        if channel["differences"]
    }
