"""A SQLite file is missing, replaced, damaged, full, locked, or half migrated.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `popup` is one
on SQLite; `store` is a store, once on PostgreSQL and once on SQLite; `short_timeouts` lets channels
time out after fractions of a second.
"""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import pytest
from django.db import connection, connections

from portal.embedded.postgres import as_user
from stores.channeldb import provision
from stores.channeldb.connect import url
from stores.channeldb.connect.connection import connect
from stores.channeldb.connect.timeouts import MAX_VALUE_BYTES
from stores.channeldb.connect.url import sqlite_path
from stores.channeldb.errors import ChannelUnmigrated
from stores.messages.message import Message
from stores.models import AsyncCustomer, ChannelDatabase, Incident
from stores.models.incident import IncidentKind
from stores.models.job import JobCode
from tests.support.after_a_fault import waiting
from tests.support.channels import TIME, Channel
from tests.support.make import lookup, make_customer, run
from tests.support.processes import ROOT, environment
from tests.support.promises import broken_promises

pytestmark = pytest.mark.slow

DAMAGED = "Channel popup has a damaged file."
NO_TABLES = "has no Syncline tables, or old ones"


@pytest.fixture
def path(popup) -> Path:
    """The path of popup's file, which has all rows; its write-ahead log is empty."""
    path = sqlite_path(popup)
    empty_wal(path)
    return path


def open_file(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


def empty_wal(path: Path) -> None:
    """Move the rows of the write-ahead log into the file."""
    with closing(open_file(path)) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def remove(path: Path, *endings: str) -> None:
    for ending in endings:
        path.with_name(path.name + ending).unlink(missing_ok=True)


def message_of(result) -> str:
    return result["steps"][0]["message"]


@pytest.mark.fault("F-27")  # a SQLite file is missing or damaged
def test_a_missing_file_is_not_created(popup, houston, path):
    make_customer(popup, "Ann")
    moved = path.rename(path.with_suffix(".moved"))
    remove(path, "-wal", "-shm")

    result = run("pipeline", channels=["popup"])

    assert message_of(result) == (
        "Channel popup cannot be reached: its file is missing or cannot be opened."
    )
    assert not path.exists()
    moved.rename(path)


def empty_file(path: Path) -> None:
    path.write_bytes(b"")


def fill_with_random_bytes(path: Path) -> None:
    path.write_bytes(os.urandom(8192))


def replace_by_foreign_database(path: Path) -> None:
    path.unlink()
    with closing(open_file(path)) as raw:
        raw.execute("CREATE TABLE music (title text)")


def cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.fault("F-27")  # a SQLite file is missing or damaged
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (empty_file, NO_TABLES),
        (fill_with_random_bytes, "has a file that is not a SQLite database"),
        (replace_by_foreign_database, NO_TABLES),
        (cut_in_half, "has a damaged file"),
    ],
    ids=["empty", "random", "foreign", "cut off"],
)
def test_a_file_that_is_no_channel_database_is_refused(popup, path, damage, message):
    damage(path)

    result = run(JobCode.UPLOAD)

    assert result["outcome"] == "failed"
    assert message in message_of(result)


def overwrite_root_page(path: Path, table: str, byte: bytes | None = None) -> None:
    """Overwrite the first page of a table with this byte, or with random ones."""
    with closing(open_file(path)) as raw:
        statement = "SELECT rootpage FROM sqlite_master WHERE name = ?"
        [(page,)] = raw.execute(statement, [table])
        [(size,)] = raw.execute("PRAGMA page_size")
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(os.urandom(size) if byte is None else byte * size)


@pytest.mark.fault("F-27")  # a SQLite file is missing or damaged
def test_a_damaged_file_is_not_read_until_repaired(popup, path):
    for _ in range(60):
        make_customer(popup, "Ann", name="x" * 200)
    empty_wal(path)
    whole_file = path.read_bytes()
    overwrite_root_page(path, "async_customer")

    first, second = run(JobCode.UPLOAD), run(JobCode.UPLOAD)
    staged = AsyncCustomer.objects.count()
    path.write_bytes(whole_file)
    third = run(JobCode.UPLOAD)

    assert message_of(first) == message_of(second) == DAMAGED
    assert staged == 0
    assert third["counts"]["staged"] == 60


@pytest.mark.fault("F-27")  # a SQLite file is missing or damaged
def test_a_file_is_checked_whole_after_a_failed_visit(popup, path):
    ChannelDatabase.objects.filter(pk=popup.pk).update(
        last_error=Message("quoted", text="Something was wrong.")
    )
    # An upload without sales would not read this table.
    overwrite_root_page(path, "retail_transaction_payment", b"\xff")

    result = run(JobCode.UPLOAD)

    assert message_of(result) == DAMAGED


@pytest.mark.fault("F-27")  # a SQLite file is missing or damaged
def test_a_copy_without_its_log_counts_as_a_restore(popup, path):
    run("pipeline")
    till = open_file(path)
    till.execute("PRAGMA wal_autocheckpoint = 0")
    copy = path.with_suffix(".copy")
    shutil.copyfile(path, copy)
    make_customer(popup, "Ann")
    run("pipeline")
    till.close()
    remove(path, "", "-wal", "-shm")
    copy.rename(path)

    run("pipeline")

    assert Incident.objects.open().get().kind == IncidentKind.CHANNEL_RESTORED
    assert ("005001", "Ann") in lookup(popup)


@pytest.mark.fault("F-27")  # a SQLite file is missing or damaged
def test_a_read_only_file_fails_the_upload(popup, path):
    make_customer(popup, "Ann")
    empty_wal(path)
    path.chmod(0o400)
    path.parent.chmod(0o500)
    try:
        # Root may write to any file, so the run needs a process of another user.
        process = subprocess.run(
            as_user([sys.executable, "manage.py", "run_job", "P-0001", "--json"]),
            cwd=ROOT,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    finally:
        path.parent.chmod(0o700)
        path.chmod(0o600)

    # What SQLite says depends on whether it must create files beside this one.
    assert message_of(json.loads(process.stdout)) in (
        "Channel popup is read-only.",
        "Channel popup cannot be reached: its file is missing or cannot be opened.",
    )
    assert waiting(popup) == 1
    assert run(JobCode.UPLOAD)["counts"]["read"] == 1


@pytest.fixture
def full_disk(popup, path, monkeypatch) -> None:
    """Popup has 200 customers, and its file cannot grow by a page."""
    for _ in range(200):
        make_customer(popup, "Ann", name="x" * 250)
    with closing(open_file(path)) as raw:
        [(pages,)] = raw.execute("PRAGMA page_count")
    sqlite_options = url.sqlite_options

    def options_without_room():
        options = sqlite_options()
        options["init_command"] += f"; PRAGMA max_page_count = {pages}"
        return options

    monkeypatch.setattr(url, "sqlite_options", options_without_room)


@pytest.mark.fault("F-25")  # a SQLite file cannot grow
def test_a_full_disk_leaves_all_events_unacknowledged(popup, path, full_disk):
    result = run(JobCode.UPLOAD)

    assert message_of(result) == "Channel popup has no room left."
    assert waiting(popup) == 200
    with closing(open_file(path)) as raw:
        assert raw.execute("PRAGMA quick_check").fetchall() == [("ok",)]


@pytest.mark.fault("F-25")  # a SQLite file cannot grow
def test_once_there_is_room_again_all_events_are_uploaded(popup, full_disk, monkeypatch):
    run(JobCode.UPLOAD)
    monkeypatch.undo()

    run("pipeline")

    assert waiting(popup) == 0
    assert len(lookup(popup)) == 200
    assert broken_promises() == []


@pytest.mark.fault("F-26")  # a SQLite file is locked
def test_a_locked_file_makes_the_channel_busy(popup, path, short_timeouts):
    make_customer(popup, "Ann")
    writer = open_file(path)
    writer.execute("BEGIN IMMEDIATE")

    result = run("pipeline")
    still_waiting = waiting(popup)
    writer.close()
    run("pipeline")

    assert message_of(result) == "Channel popup is busy."
    assert (still_waiting, waiting(popup)) == (1, 0)
    assert lookup(popup) == [("005001", "Ann")]


KILLED_MIGRATION = """
import django, os, signal
django.setup()
from stores.channeldb import provision
from stores.channeldb.schema import ddl
from tests.support.channels import Channel

statements = ddl.statements

def statements_with_a_kill(vendor):
    for number, statement in enumerate(statements(vendor)):
        if number == 20:
            os.kill(os.getpid(), signal.SIGKILL)
        yield statement

ddl.statements = statements_with_a_kill
channel = Channel(1, "sqlite:///half.sqlite3")
provision.create_database(channel)
provision.migrate_database(channel)
"""


@pytest.mark.fault("F-29")  # a migration is half done
def test_a_killed_migration_leaves_no_tables_and_can_be_repeated(hq):
    channel = Channel(1, "sqlite:///half.sqlite3")
    path = sqlite_path(channel)

    killed = subprocess.run(
        [sys.executable, "-c", KILLED_MIGRATION], cwd=ROOT, env=environment(), check=False
    )

    assert killed.returncode == -signal.SIGKILL
    with closing(open_file(path)) as raw:
        tables = {name for (name,) in raw.execute("SELECT name FROM sqlite_master")}
    assert tables.isdisjoint({"async_customer", "customer"})
    with pytest.raises(ChannelUnmigrated), connect(channel):
        pass
    assert provision.migrate_database(channel)
    path.unlink()


def make_customer_with_giant_name(store):
    """Write a name longer than HQ reads, with a driver that has no such limit."""
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


@pytest.mark.scenario(id="E5")
def test_an_event_with_a_giant_value_stops_no_other(store):
    make_customer(store, "Ann")
    make_customer_with_giant_name(store)
    make_customer(store, "Bo")

    result = run("pipeline")

    assert (result["counts"]["converted"], result["counts"]["waiting"]) == (2, 1)
    assert waiting(store) == 1
    assert Incident.objects.open().get().kind == IncidentKind.EVENT_TOO_LARGE


@pytest.mark.scenario(id="E5")
def test_many_large_events_are_uploaded_in_small_batches(store):
    for _ in range(12):
        make_customer(store, "Ann", name="x" * 4_000_000)

    result = run(JobCode.UPLOAD)

    assert result["counts"] == {"read": 12, "quarantined": 12}
    assert waiting(store) == 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*), min(length(raw)) > 4000000 FROM quarantine")
        assert cursor.fetchone() == (12, True)
