"""A channel is open within one block and one thread; its errors are sentences.

From conftest.py: `houston` is a channel on PostgreSQL; `register` is a channel on SQLite; `channel`
is a channel, once on PostgreSQL and once on SQLite; `nowhere` is a channel without a database, once
on each engine.
"""
# ruff: noqa: PT012, SIM117 - what happens within the open channel is what is tested

import os
import sqlite3

import psycopg2
import pytest
from django.db import DatabaseError, connection, connections, transaction
from django.utils.connection import ConnectionDoesNotExist

from stores.channeldb import provision
from stores.channeldb.connect.connection import connect, translated
from stores.channeldb.connect.url import sqlite_path
from stores.channeldb.errors import (
    ChannelAlreadyOpen,
    ChannelBusy,
    ChannelError,
    ChannelMisconfigured,
    ChannelNotChosen,
    ChannelUnmigrated,
    ChannelUnreachable,
)
from tests.support.channels import Channel, Till, event, on_server
from tests.support.concurrency import start_in_thread


def terminate_backend(alias):
    """End the server process of an open channel."""
    with connections[alias].cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        pid = cursor.fetchone()[0]
    on_server(f"SELECT pg_terminate_backend({pid}, 5000)")


def test_a_channel_has_an_alias_only_within_its_block(channel):
    with connect(channel) as alias:
        assert alias == f"channel-{channel.pk}"
        raw = connections[alias].connection

    with pytest.raises(ConnectionDoesNotExist):
        connections[alias]
    with pytest.raises((psycopg2.InterfaceError, sqlite3.ProgrammingError)):
        raw.cursor().execute("SELECT 1")


def test_a_transaction_is_rolled_back_after_an_error(channel):
    with connect(channel) as alias:
        till = Till(alias)
        with pytest.raises(ZeroDivisionError), transaction.atomic(using=alias):
            till.insert("async_customer", **event())
            _ = 1 / 0
        assert till.value("SELECT count(*) FROM async_customer") == 0


def test_a_transaction_still_open_at_the_end_is_rolled_back(channel):
    with pytest.raises(ZeroDivisionError), connect(channel) as alias:
        connections[alias].set_autocommit(False)
        Till(alias).insert("async_customer", **event())
        _ = 1 / 0

    with connect(channel) as alias:
        assert Till(alias).value("SELECT count(*) FROM async_customer") == 0


def test_opening_a_channel_twice_raises(channel):
    with connect(channel) as alias:
        with (
            pytest.raises(
                ChannelAlreadyOpen, match="Channel houston is already open in this thread"
            ),
            connect(channel),
        ):
            pass
        assert Till(alias).value("SELECT 1") == 1

    with connect(channel):
        pass


def test_two_channels_are_open_at_once(houston, register):
    with connect(houston) as houston_alias, connect(register) as register_alias:
        assert connections[houston_alias].vendor == "postgresql"
        assert connections[register_alias].vendor == "sqlite"


def test_another_thread_has_a_connection_of_its_own(channel):
    def open_channel():
        with connect(channel) as alias:
            return connections[alias], Till(alias).value("SELECT 1")

    with connect(channel) as alias:
        other_connection, result = start_in_thread(open_channel).result(timeout=60)

        assert result == 1
        assert other_connection is not connections[alias]


@pytest.mark.parametrize("database", [None, Channel(None, "embedded:ch")])
def test_opening_no_channel_raises(database):
    with pytest.raises(ChannelNotChosen, match="No channel was chosen"), connect(database):
        pass


def test_the_connection_of_the_driver_can_be_used(channel):
    with connect(channel) as alias:
        cursor = connections[alias].connection.cursor()
        cursor.execute("SELECT count(*) FROM async_customer")

        assert cursor.fetchone() == (0,)


def test_a_postgresql_session_has_its_settings(houston):
    with connect(houston) as alias:
        till = Till(alias)
        settings = {
            name: till.value(f"SHOW {name}")
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

    assert settings == {
        "statement_timeout": "30s",
        "lock_timeout": "5s",
        "idle_in_transaction_session_timeout": "1min",
        "search_path": "public",
        "client_encoding": "UTF8",
        "TimeZone": "UTC",
        "DateStyle": "ISO, MDY",
        "application_name": "syncline-channel",
    }


def test_a_sqlite_session_has_its_settings(register):
    with connect(register) as alias:
        till = Till(alias)
        settings = {
            name: till.value(f"PRAGMA {name}")
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

    assert settings == {
        "journal_mode": "wal",
        "synchronous": 2,
        "busy_timeout": 5000,
        "foreign_keys": 1,
        "trusted_schema": 0,
        "cell_size_check": 1,
    }


def test_a_database_without_tables_is_refused(nowhere):
    provision.create_database(nowhere)

    message = "Channel houston has no Syncline tables, or old ones: run migrate_channels houston."
    with pytest.raises(ChannelUnmigrated, match=message), connect(nowhere):
        pass


@pytest.mark.fault("F-29")  # a migration is half done
def test_a_database_with_old_tables_is_refused(channel):
    with connect(channel) as alias:
        Till(alias).sql("UPDATE django_migrations SET name = '0000_older'")

    with pytest.raises(ChannelUnmigrated), connect(channel):
        pass
    with connect(channel, migrate=True):
        pass


def test_the_message_about_a_register_tells_which_channel_to_migrate(nowhere):
    provision.create_database(nowhere)
    till = Channel(nowhere.pk, nowhere.url, "houston/till-1")

    with pytest.raises(ChannelUnmigrated, match=r"houston/till-1 .* migrate_channels houston\.$"):
        with connect(till):
            pass


@pytest.mark.scenario(id="E3")
@pytest.mark.django_db
@pytest.mark.parametrize("migrate", [False, True])
def test_the_database_of_hq_is_refused(migrate):
    hq = Channel(1, f"embedded:{connection.settings_dict['NAME']}")

    with pytest.raises(ChannelMisconfigured, match="this is HQ's own database"):
        with connect(hq, migrate=migrate):
            pass


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("embedded:ch_not_there", "its server has no such database"),
        ("postgresql://shop:s3cret@localhost:1/ch", "nothing listens on the port of its server"),
        ("postgresql://shop@/ch?host=/nowhere", "nothing listens on the port of its server"),
        ("sqlite:///not_there.sqlite3", "its file is missing or cannot be opened"),
    ],
)
def test_a_channel_that_does_not_exist_is_unreachable_and_the_cause_is_named(url, cause):
    with pytest.raises(ChannelUnreachable) as error, connect(Channel(1, url)):
        pass

    assert str(error.value) == f"Channel houston cannot be reached: {cause}."
    assert error.value.__suppress_context__


@pytest.mark.scenario(id="E4")
def test_a_missing_file_is_not_created():
    missing = Channel(1, "sqlite:///not_there.sqlite3")

    with pytest.raises(ChannelUnreachable), connect(missing, migrate=True):
        pass

    assert not sqlite_path(missing).exists()


def test_a_file_that_is_no_database_is_unreachable(register):
    sqlite_path(register).write_bytes(os.urandom(8192))

    with pytest.raises(ChannelUnreachable, match="is not a SQLite database"), connect(register):
        pass


def test_a_channel_can_be_opened_after_a_failure(register):
    path = sqlite_path(register)
    path.rename(f"{path}.away")
    with pytest.raises(ChannelUnreachable), connect(register):
        pass
    path.with_name(f"{path.name}.away").rename(path)

    with connect(register) as alias:
        assert Till(alias).value("SELECT 1") == 1


def test_a_channel_whose_server_is_lost_is_unreachable(houston):
    with pytest.raises(ChannelUnreachable, match="cannot be reached"), connect(houston) as alias:
        terminate_backend(alias)
        Till(alias).value("SELECT 1")


def test_losing_the_server_in_a_transaction_makes_the_channel_unreachable(houston):
    with pytest.raises(ChannelUnreachable), connect(houston) as alias:
        with transaction.atomic(using=alias):
            terminate_backend(alias)
            Till(alias).value("SELECT 1")


def test_losing_the_server_before_the_commit_makes_the_channel_unreachable(houston):
    with pytest.raises(ChannelUnreachable), connect(houston) as alias:
        with transaction.atomic(using=alias):
            terminate_backend(alias)


def test_losing_the_server_inside_the_driver_makes_the_channel_unreachable(houston):
    with pytest.raises(ChannelUnreachable), connect(houston) as alias:
        raw = connections[alias].connection.cursor()
        terminate_backend(alias)
        raw.execute("SELECT 1")


@pytest.mark.django_db
def test_an_error_of_hq_is_not_reported_as_the_channel_s(houston):
    with pytest.raises(DatabaseError, match="statement timeout"), connect(houston):
        with connection.cursor() as cursor, transaction.atomic():
            cursor.execute("SET LOCAL statement_timeout = '1ms'; SELECT pg_sleep(1)")


def test_errors_in_rows_and_statements_are_not_translated(channel):
    with connect(channel) as alias:
        till = Till(alias)
        with pytest.raises(DatabaseError), translated(channel), transaction.atomic(using=alias):
            till.insert("async_customer", event_id=None)
        with pytest.raises(DatabaseError), translated(channel):
            till.sql("SELECT nothing FROM nowhere")


def test_errors_of_the_program_are_not_translated(channel):
    with pytest.raises(ZeroDivisionError), connect(channel), translated(channel):
        _ = 1 / 0


def test_a_locked_file_is_busy(register):
    holder = sqlite3.connect(sqlite_path(register), isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")

    with pytest.raises(ChannelBusy, match="Channel houston is busy"), connect(register) as alias:
        Till(alias).sql("PRAGMA busy_timeout = 1")
        with transaction.atomic(using=alias):
            pass
    holder.close()


def test_a_slow_statement_is_busy(houston):
    with pytest.raises(ChannelBusy, match="is too slow"), connect(houston) as alias:
        till = Till(alias)
        till.sql("SET statement_timeout = '10ms'")
        till.sql("SELECT pg_sleep(1)")


def test_a_locked_table_is_busy(houston):
    with connect(houston) as alias:
        other = psycopg2.connect(connections[alias].connection.dsn)
        other.cursor().execute("LOCK TABLE async_customer IN ACCESS EXCLUSIVE MODE")
        till = Till(alias)
        till.sql("SET lock_timeout = '10ms'")

        with pytest.raises(ChannelBusy), translated(houston):
            till.value("SELECT count(*) FROM async_customer")
        other.close()


def test_a_server_that_refuses_changes_is_read_only(houston):
    with pytest.raises(ChannelUnreachable, match="Channel houston is read-only"):
        with connect(houston) as alias:
            till = Till(alias)
            till.sql("SET default_transaction_read_only = on")
            till.insert("async_customer", **event())


def test_a_full_disk_is_named(register):
    with pytest.raises(ChannelUnreachable, match="has no room left"), connect(register) as alias:
        till = Till(alias)
        till.value(f"PRAGMA max_page_count = {till.value('PRAGMA page_count')}")
        till.insert("async_customer", **event(name="x" * 100_000))


def test_every_error_of_a_channel_has_its_docstring_as_message():
    for error in (ChannelNotChosen, ChannelUnmigrated, ChannelBusy, ChannelMisconfigured):
        assert issubclass(error, ChannelError)
        assert str(error()) == error.__doc__.splitlines()[0]
    assert issubclass(ChannelBusy, ChannelUnreachable)
