"""A register's SQLite file: gone, exchanged, damaged, full, locked, or made by somebody else."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from uuid import uuid4

import pytest
from django.db import connection, connections

from portal.embedded.postgres import as_user
from stores.channeldb import provision
from stores.channeldb.connect import url
from stores.channeldb.connect.connection import ChannelUnmigrated, connect
from stores.channeldb.connect.timeouts import MAX_VALUE_BYTES
from stores.channeldb.connect.url import sqlite_path
from stores.models import AsyncCustomer, ChannelDatabase, Incident
from stores.models.incident import IncidentKind
from tests.support.after_a_fault import broken, waiting
from tests.support.channels import TIME, Channel
from tests.support.make import lookup, make_customer, run
from tests.support.processes import ROOT, environment

pytestmark = pytest.mark.slow


@pytest.fixture
def path(popup):
    """Where popup's file is, with nothing left in its log."""
    with closing(opened(sqlite_path(popup))) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return sqlite_path(popup)


def opened(path):
    return sqlite3.connect(path, isolation_level=None)


def message(found):
    return found["steps"][0]["message"]


@pytest.mark.fault("F-27")
def test_missing_file_is_never_made(popup, houston, path):
    make_customer(popup, "Ann")
    away = path.rename(path.with_suffix(".away"))
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)

    found = run("pipeline", channels=["popup"])

    assert message(found) == "Channel popup cannot be reached."
    assert not path.exists()
    away.rename(path)


@pytest.mark.fault("F-27")
@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda path: path.write_bytes(b""), "has no Syncline tables, or old ones"),
        (
            lambda path: path.write_bytes(os.urandom(8192)),
            "has a file that is not a SQLite database",
        ),
        (lambda path: foreign(path), "has no Syncline tables, or old ones"),
        (lambda path: os.truncate(path, path.stat().st_size // 2), "has a damaged file"),
    ],
    ids=["empty", "random", "foreign", "cut off"],
)
def test_file_that_is_not_ours_any_more_is_refused(popup, path, damage, told):
    damage(path)

    found = run("P-0001")

    assert found["outcome"] == "failed"
    assert told in message(found)


def foreign(path):
    """Somebody else's database in the place of ours."""
    path.unlink()
    with closing(opened(path)) as raw:
        raw.execute("CREATE TABLE music (title text)")


@pytest.mark.fault("F-27")
def test_random_bytes_in_a_page_are_noticed_and_the_file_is_not_read_again(popup, path):
    for _ in range(60):
        make_customer(popup, "Ann", name="x" * 200)
    with closing(opened(path)) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        [(root,)] = raw.execute("SELECT rootpage FROM sqlite_master WHERE name = 'async_customer'")
        [(size,)] = raw.execute("PRAGMA page_size")
    whole = path.read_bytes()
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(os.urandom(size))

    first, second = run("P-0001"), run("P-0001")
    held = AsyncCustomer.objects.count()
    path.write_bytes(whole)
    third = run("P-0001")

    assert message(first) == message(second) == "Channel popup has a damaged file."
    assert held == 0
    assert third["counts"]["staged"] == 60


@pytest.mark.fault("F-27")
def test_damage_that_nobody_happened_to_read_is_found_after_a_failure(popup, path):
    ChannelDatabase.objects.filter(pk=popup.pk).update(last_error="Something was wrong.")
    with closing(opened(path)) as raw:
        [(root,)] = raw.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'retail_transaction_payment'"
        )
        [(size,)] = raw.execute("PRAGMA page_size")
    with path.open("r+b") as file:
        file.seek((root - 1) * size)
        file.write(b"\xff" * size)

    assert message(run("P-0001")) == "Channel popup has a damaged file."


@pytest.mark.fault("F-27")
def test_copy_without_its_log_is_refused_or_recognised(popup, path):
    """A tool that copied the file alone, while what was written last was still in the log."""
    run("pipeline")
    copy = path.with_suffix(".copy")
    till = opened(path)
    till.execute("PRAGMA wal_autocheckpoint = 0")
    shutil.copyfile(path, copy)
    make_customer(popup, "Ann")
    run("pipeline")
    till.close()
    for ending in ("", "-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    copy.rename(path)

    run("pipeline")

    assert [incident.kind for incident in Incident.objects.open()] == [
        IncidentKind.CHANNEL_RESTORED
    ]
    assert ("005001", "Ann") in lookup(popup)


@pytest.mark.fault("F-27")
def test_read_only_file_is_told(popup, path):
    """In a process without root's rights, who may write anything."""
    make_customer(popup, "Ann")
    with closing(opened(path)) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    folder = path.parent
    path.chmod(0o400)
    folder.chmod(0o500)
    try:
        done = subprocess.run(
            as_user([sys.executable, "manage.py", "run_job", "P-0001", "--json"]),
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    finally:
        folder.chmod(0o700)
        path.chmod(0o600)

    assert message(json.loads(done.stdout)) in (
        "Channel popup is read-only.",
        "Channel popup cannot be reached.",
    )
    assert waiting(popup) == 1
    assert run("P-0001")["counts"]["read"] == 1


@pytest.mark.fault("F-25")
def test_full_disk_marks_nothing_as_acknowledged(popup, path, monkeypatch):
    for _ in range(200):
        make_customer(popup, "Ann", name="x" * 250)
    with closing(opened(path)) as raw:
        [(pages,)] = raw.execute("PRAGMA page_count")
    known = url.sqlite_options

    def full():
        options = known()
        options["init_command"] += f"; PRAGMA max_page_count = {pages}"
        return options

    with monkeypatch.context() as disk:
        disk.setattr(url, "sqlite_options", full)
        found = run("P-0001")
    with closing(opened(path)) as raw:
        [(whole,)] = raw.execute("PRAGMA quick_check")
    held = waiting(popup)
    run("pipeline")

    assert message(found) == "Channel popup has no room left."
    assert (held, whole) == (200, "ok")
    assert waiting(popup) == 0
    assert len(lookup(popup)) == 200
    assert broken() == []


@pytest.mark.fault("F-26")
def test_locked_file_makes_the_channel_busy(popup, path, impatient):
    make_customer(popup, "Ann")
    holder = opened(path)
    holder.execute("BEGIN IMMEDIATE")

    found = run("pipeline")
    held = waiting(popup)
    holder.close()
    run("pipeline")

    assert message(found) == "Channel popup is busy."
    assert (held, waiting(popup)) == (1, 0)
    assert lookup(popup) == [("005001", "Ann")]


DIES_MIDWAY = """
import django, os, signal
django.setup()
from stores.channeldb import provision as create
from stores.channeldb.schema import ddl
from tests.support.channels import TIME
from tests.support.channels import Channel

whole = ddl.statements

def deadly(vendor):
    for place, statement in enumerate(whole(vendor)):
        if place == 20:
            os.kill(os.getpid(), signal.SIGKILL)
        yield statement

ddl.statements = deadly
half = Channel(1, "sqlite:///half.sqlite3")
create.create_database(half)
create.migrate_database(half)
"""


@pytest.mark.fault("F-29")
def test_migration_killed_midway_leaves_nothing(hq):
    half = Channel(1, "sqlite:///half.sqlite3")
    path = sqlite_path(half)

    killed = subprocess.run(
        [sys.executable, "-c", DIES_MIDWAY], cwd=ROOT, env=environment(), check=False
    )
    with closing(opened(path)) as raw:
        tables = {name for (name,) in raw.execute("SELECT name FROM sqlite_master")}
    refused = pytest.raises(ChannelUnmigrated)
    with refused, connect(half):
        pass

    assert killed.returncode == -signal.SIGKILL
    assert not {"async_customer", "customer"} & tables
    assert provision.migrate_database(half)
    path.unlink()


def test_e5_giant_value_stays_where_it_is_and_stops_nobody(store):
    """A row that HQ does not carry: told to people, still safe in its channel."""
    make_customer(store, "Ann")
    make_giant(store)
    make_customer(store, "Bo")

    found = run("pipeline")

    assert (found["counts"]["converted"], found["counts"]["waiting"]) == (2, 1)
    assert waiting(store) == 1
    assert [incident.kind for incident in Incident.objects.open()] == [IncidentKind.EVENT_TOO_LARGE]


def make_giant(store):
    """A customer of whom a till has saved more than HQ reads; its own driver has no such limit."""
    with connect(store) as alias:
        raw = connections[alias].connection
        if connections[alias].vendor == "sqlite":
            raw.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 10 * MAX_VALUE_BYTES)
        with connections[alias].cursor() as cursor:
            cursor.execute(
                "INSERT INTO async_customer (event_id, occurred_at, operation, async_account, name)"
                " VALUES (%s, %s, 'create', %s, %s)",
                [str(uuid4()), TIME, str(uuid4()), "x" * (MAX_VALUE_BYTES + 1)],
            )


def test_e5_many_large_rows_are_carried_in_small_batches(store):
    for _ in range(12):
        make_customer(store, "Ann", name="x" * 4_000_000)

    found = run("P-0001")

    assert found["counts"] == {"read": 12, "quarantined": 12}
    assert waiting(store) == 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*), min(length(raw)) > 4000000 FROM quarantine")
        assert cursor.fetchone() == (12, True)
