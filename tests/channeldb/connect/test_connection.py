"""A channel is open within one block and one thread; trouble comes out as a sentence."""
# ruff: noqa: PT012, SIM117 - what happens within the open channel is what is tested

import os
import sqlite3
import threading

import psycopg2
import pytest
from django.db import DatabaseError, connection, connections, transaction
from django.utils.connection import ConnectionDoesNotExist

from stores.channeldb import provision
from stores.channeldb.connect.connection import (
    ChannelAlreadyOpen,
    ChannelBusy,
    ChannelError,
    ChannelMisconfigured,
    ChannelNotChosen,
    ChannelUnmigrated,
    ChannelUnreachable,
    connect,
    translated,
)
from stores.channeldb.connect.url import sqlite_path
from tests.support.channels import Channel, Till, event, on_server


def kill(alias):
    """End the server's side of an open channel."""
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]
    on_server(f"SELECT pg_terminate_backend({pid}, 5000)")


# -------------------------------------------------------------------- blocks


def test_channel_is_known_within_the_block_only(channel):
    with connect(channel) as alias:
        assert alias == f"channel-{channel.pk}"
        raw = connections[alias].connection

    with pytest.raises(ConnectionDoesNotExist):
        connections[alias]
    with pytest.raises((psycopg2.InterfaceError, sqlite3.ProgrammingError)):
        raw.cursor().execute("SELECT 1")


def test_transaction_can_be_taken_back(channel):
    with connect(channel) as alias:
        till = Till(alias)
        with pytest.raises(ZeroDivisionError), transaction.atomic(using=alias):
            till.insert("async_customer", **event())
            _ = 1 / 0
        assert till.one("SELECT count(*) FROM async_customer") == 0


def test_block_left_within_a_transaction_leaves_nothing_behind(channel):
    with pytest.raises(ZeroDivisionError), connect(channel) as alias:
        connections[alias].set_autocommit(False)
        Till(alias).insert("async_customer", **event())
        _ = 1 / 0

    with connect(channel) as alias:
        assert Till(alias).one("SELECT count(*) FROM async_customer") == 0


def test_opening_a_channel_twice_raises(channel):
    with connect(channel) as alias:
        with pytest.raises(ChannelAlreadyOpen, match="Channel houston is open"), connect(channel):
            pass
        assert Till(alias).one("SELECT 1") == 1

    with connect(channel):
        pass


def test_two_channels_are_open_at_once(houston, register):
    with connect(houston) as one, connect(register) as other:
        assert (connections[one].vendor, connections[other].vendor) == ("postgresql", "sqlite")


def test_other_thread_opens_the_channel_for_itself(channel):
    found = []

    def look():
        with connect(channel) as alias:
            found.append((connections[alias], Till(alias).one("SELECT 1")))

    with connect(channel) as alias:
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()

        assert found[0][1] == 1
        assert found[0][0] is not connections[alias]


@pytest.mark.parametrize("database", [None, Channel(None, "embedded:ch")])
def test_no_channel_chosen_raises(database):
    with pytest.raises(ChannelNotChosen, match="No channel was chosen"), connect(database):
        pass


def test_driver_s_own_connection_can_be_used(channel):
    with connect(channel) as alias:
        cursor = connections[alias].connection.cursor()
        cursor.execute("SELECT count(*) FROM async_customer")

        assert cursor.fetchone() == (0,)


# ------------------------------------------------------------------ settings


def test_postgresql_session_has_its_settings(houston):
    with connect(houston) as alias:
        till = Till(alias)
        found = {
            name: till.one(f"SHOW {name}")
            for name in (
                "statement_timeout",
                "lock_timeout",
                "idle_in_transaction_session_timeout",
                "search_path",
                "client_encoding",
                "TimeZone",
                "DateStyle",
                "application_name",
            )
        }

    assert found == {
        "statement_timeout": "30s",
        "lock_timeout": "5s",
        "idle_in_transaction_session_timeout": "1min",
        "search_path": "public",
        "client_encoding": "UTF8",
        "TimeZone": "UTC",
        "DateStyle": "ISO, MDY",
        "application_name": "syncline-channel",
    }


def test_sqlite_session_has_its_settings(register):
    with connect(register) as alias:
        till = Till(alias)
        found = {
            name: till.one(f"PRAGMA {name}")
            for name in (
                "journal_mode",
                "synchronous",
                "busy_timeout",
                "foreign_keys",
                "trusted_schema",
                "cell_size_check",
            )
        }
        assert connections[alias].transaction_mode == "IMMEDIATE"

    assert found == {
        "journal_mode": "wal",
        "synchronous": 2,
        "busy_timeout": 5000,
        "foreign_keys": 1,
        "trusted_schema": 0,
        "cell_size_check": 1,
    }


# -------------------------------------------------------------------- tables


def test_database_without_tables_is_refused(nowhere):
    provision.create_database(nowhere)

    message = "Channel houston has no Syncline tables, or old ones: run migrate_channels houston."
    with pytest.raises(ChannelUnmigrated, match=message), connect(nowhere):
        pass


@pytest.mark.fault("F-29")
def test_database_with_old_tables_is_refused(channel):
    with connect(channel) as alias:
        Till(alias).sql("UPDATE django_migrations SET name = '0000_older'")

    with pytest.raises(ChannelUnmigrated), connect(channel):
        pass
    with connect(channel, migrate=True):
        pass


def test_register_is_migrated_under_its_channel_s_name(nowhere):
    provision.create_database(nowhere)
    till = Channel(nowhere.pk, nowhere.url, "houston/till-1")

    with pytest.raises(ChannelUnmigrated, match=r"houston/till-1 .* migrate_channels houston\.$"):
        with connect(till):
            pass


@pytest.mark.django_db
@pytest.mark.parametrize("migrate", [False, True])
def test_e3_hq_s_own_database_is_refused(migrate):
    hq = Channel(1, f"embedded:{connection.settings_dict['NAME']}")

    with pytest.raises(ChannelMisconfigured, match="this is HQ's own database"):
        with connect(hq, migrate=migrate):
            pass


# ------------------------------------------------------------------- trouble


@pytest.mark.parametrize(
    "url",
    [
        "embedded:ch_not_there",
        "postgresql://shop:s3cret@localhost:1/ch",
        "postgresql://shop@/ch?host=/nowhere",
        "sqlite:///not_there.sqlite3",
    ],
)
def test_channel_that_is_not_there_is_unreachable(url):
    with pytest.raises(ChannelUnreachable, match=r"^Channel houston cannot be reached\.$") as error:
        with connect(Channel(1, url)):
            pass

    assert error.value.__suppress_context__


def test_e4_missing_file_is_not_made():
    missing = Channel(1, "sqlite:///not_there.sqlite3")

    with pytest.raises(ChannelUnreachable), connect(missing, migrate=True):
        pass

    assert not sqlite_path(missing).exists()


def test_file_that_is_no_database_is_unreachable(register):
    sqlite_path(register).write_bytes(os.urandom(8192))

    with pytest.raises(ChannelUnreachable, match="is no SQLite database"), connect(register):
        pass


def test_channel_can_be_opened_after_a_failure(register):
    path = sqlite_path(register)
    path.rename(f"{path}.away")
    with pytest.raises(ChannelUnreachable), connect(register):
        pass
    path.with_name(f"{path.name}.away").rename(path)

    with connect(register) as alias:
        assert Till(alias).one("SELECT 1") == 1


def test_server_that_goes_away_makes_the_channel_unreachable(houston):
    with pytest.raises(ChannelUnreachable, match="cannot be reached"), connect(houston) as alias:
        kill(alias)
        Till(alias).one("SELECT 1")


def test_server_that_goes_away_within_a_transaction_does_too(houston):
    with pytest.raises(ChannelUnreachable), connect(houston) as alias:
        with transaction.atomic(using=alias):
            kill(alias)
            Till(alias).one("SELECT 1")


def test_server_that_goes_away_before_the_commit_does_too(houston):
    with pytest.raises(ChannelUnreachable), connect(houston) as alias:
        with transaction.atomic(using=alias):
            kill(alias)


def test_server_that_goes_away_from_the_driver_does_too(houston):
    with pytest.raises(ChannelUnreachable), connect(houston) as alias:
        raw = connections[alias].connection.cursor()
        kill(alias)
        raw.execute("SELECT 1")


@pytest.mark.django_db
def test_trouble_of_hq_is_not_the_channel_s(houston):
    with pytest.raises(DatabaseError, match="statement timeout"), connect(houston):
        with connection.cursor() as cursor, transaction.atomic():
            cursor.execute("SET LOCAL statement_timeout = '1ms'; SELECT pg_sleep(1)")


def test_errors_of_rows_pass_as_they_are(channel):
    with connect(channel) as alias:
        till = Till(alias)
        with pytest.raises(DatabaseError), translated(channel), transaction.atomic(using=alias):
            till.insert("async_customer", event_id=None)
        with pytest.raises(DatabaseError), translated(channel):
            till.sql("SELECT nothing FROM nowhere")


def test_errors_of_the_program_pass_as_they_are(channel):
    with pytest.raises(ZeroDivisionError), connect(channel), translated(channel):
        _ = 1 / 0


def test_locked_file_is_busy(register):
    holder = sqlite3.connect(sqlite_path(register), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")

    with pytest.raises(ChannelBusy, match="Channel houston is busy"), connect(register) as alias:
        Till(alias).sql("PRAGMA busy_timeout = 1")
        with transaction.atomic(using=alias):
            pass
    holder.close()


def test_slow_statement_is_busy(houston):
    with pytest.raises(ChannelBusy, match="is too slow"), connect(houston) as alias:
        till = Till(alias)
        till.sql("SET statement_timeout = '10ms'")
        till.sql("SELECT pg_sleep(1)")


def test_held_row_is_busy(houston):
    with connect(houston) as alias:
        holder = connections[alias].connection
        other = psycopg2.connect(holder.dsn)
        other.cursor().execute("LOCK TABLE async_customer IN ACCESS EXCLUSIVE MODE")
        till = Till(alias)
        till.sql("SET lock_timeout = '10ms'")

        with pytest.raises(ChannelBusy), translated(houston):
            till.one("SELECT count(*) FROM async_customer")
        other.close()


def test_server_that_takes_no_changes_is_read_only(houston):
    with pytest.raises(ChannelUnreachable, match="Channel houston is read-only"):
        with connect(houston) as alias:
            till = Till(alias)
            till.sql("SET default_transaction_read_only = on")
            till.insert("async_customer", **event())


def test_full_disk_is_told(register):
    with pytest.raises(ChannelUnreachable, match="has no room left"), connect(register) as alias:
        till = Till(alias)
        till.one(f"PRAGMA max_page_count = {till.one('PRAGMA page_count')}")
        till.insert("async_customer", **event(name="x" * 100_000))


def test_every_error_is_of_one_family():
    for error in (ChannelNotChosen, ChannelUnmigrated, ChannelBusy, ChannelMisconfigured):
        assert issubclass(error, ChannelError)
        assert str(error()) == error.__doc__.splitlines()[0]
    assert issubclass(ChannelBusy, ChannelUnreachable)
