"""A database server dies, stops, refuses, fills up, or has another encoding.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `popup` is one
on SQLite; `own_server` is a PostgreSQL server of the test's own; `at_failpoint` calls a function at
a named point of the code; `proxy` stands between HQ and the server of the channels;
`short_timeouts` lets channels time out after fractions of a second; `register_austin` registers a
store whose database is on the own server.
"""

import os
import subprocess
from contextlib import suppress

import psycopg2
import pytest
from django.db import Error, connection

from stores.channeldb.connect.url import till_url
from stores.models import (
    AsyncCustomer,
    ChannelDatabase,
    Incident,
    JobRun,
)
from stores.models.incident import IncidentKind
from stores.models.job import JobCode
from stores.models.run import RunStatus
from stores.pipeline.register import register_channel
from tests.support.after_a_fault import step_of, waiting
from tests.support.channels import on_server
from tests.support.make import lookup, make_customer, run
from tests.support.promises import broken_promises

pytestmark = pytest.mark.slow

DATABASE_ERRORS = (Error, psycopg2.Error)


def connect_as_owner(database):
    return psycopg2.connect(till_url(database))


def run_as_owner(database, statement):
    """Commit one statement as the owner of a channel's database."""
    with connect_as_owner(database) as owner, owner.cursor() as cursor:
        cursor.execute(statement)
    owner.close()


@pytest.fixture
def own_hq(hq, own_server, houston, popup):
    """HQ on a server that may be killed, with houston and popup registered."""
    name = own_server.copy_hq()
    original = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict |= {"HOST": own_server.sockets, "PORT": "5432"}
    yield name
    connection.close()
    connection.settings_dict |= original


@pytest.mark.fault("F-11")  # a connection to HQ is killed
@pytest.mark.parametrize(
    "failpoint", ["upload:before_hq_commit", "upload:after_hq_commit", "convert:before_commit"]
)
def test_hq_continues_after_one_of_its_backends_is_killed(
    own_hq, own_server, houston, at_failpoint, failpoint
):
    make_customer(houston, "Ann")

    at_failpoint(failpoint, lambda: own_server.kill_one(own_hq))

    with suppress(*DATABASE_ERRORS):
        run("pipeline")
    connection.close()
    run("pipeline")
    make_customer(houston, "Bo")
    run("pipeline")

    assert lookup(houston) == [("005001", "Ann"), ("005002", "Bo")]
    assert not JobRun.objects.filter(status=RunStatus.RUNNING).exists()
    assert broken_promises() == []


@pytest.mark.fault("F-12")  # HQ's server is killed
@pytest.mark.parametrize("failpoint", ["upload:after_hq_commit", "convert:after_commit"])
def test_hq_continues_after_its_server_is_killed(
    own_hq, own_server, houston, popup, at_failpoint, failpoint
):
    make_customer(houston, "Ann")
    make_customer(popup, "Bo")
    at_failpoint(failpoint, own_server.kill)

    with suppress(*DATABASE_ERRORS):
        run("pipeline")
    own_server.start()
    connection.close()
    staged = AsyncCustomer.objects.count()
    run("pipeline")

    assert staged >= 1
    assert sorted(number for number, _ in lookup(houston)) == ["005001", "005002"]
    assert lookup(houston) == lookup(popup)
    assert broken_promises() == []


@pytest.fixture
def austin(own_server, register_austin, popup):
    """A store on a server of its own."""
    own_server.start()
    own_server.ask("DROP DATABASE IF EXISTS ch_austin WITH (FORCE)")
    own_server.ask("CREATE DATABASE ch_austin")
    return register_austin("ch_austin")


@pytest.mark.fault("F-13")  # a channel's server is down
@pytest.mark.parametrize("stop", ["stop_at_once", "kill"])
def test_a_channel_whose_server_is_down_fails_alone(own_server, austin, popup, stop):
    make_customer(austin, "Ann")
    make_customer(popup, "Bo")
    getattr(own_server, stop)()

    result = run("pipeline")
    own_server.start()
    retry = run("pipeline")

    assert step_of(result, "austin")["message"] == (
        "Channel austin cannot be reached: nothing listens on the port of its server."
    )
    assert lookup(popup)[0] == ("005001", "Bo")
    assert retry["counts"]["staged"] == 1
    assert lookup(austin) == lookup(popup) == [("005001", "Bo"), ("005002", "Ann")]


@pytest.mark.fault("F-13")  # a channel's server is down
def test_events_staged_before_a_server_dies_are_acknowledged_later(
    own_server, austin, popup, at_failpoint
):
    make_customer(austin, "Ann")
    at_failpoint("upload:after_hq_commit", own_server.kill)

    result = run(JobCode.UPLOAD)
    own_server.start()
    still_waiting = waiting(austin)
    retry = run(JobCode.UPLOAD)

    assert step_of(result, "austin")["outcome"] == "failed"
    assert (still_waiting, waiting(austin)) == (1, 0)
    assert retry["counts"] == {"read": 1, "unchanged": 1}


@pytest.mark.fault("F-21")  # an old transaction is open elsewhere
def test_open_transactions_in_other_databases_do_not_delay_a_channel(own_server, austin):
    """One is idle in another database, the other is prepared and never finished."""
    idle = psycopg2.connect(host=own_server.sockets, user="syncline", dbname="syncline")
    idle.cursor().execute("CREATE TABLE IF NOT EXISTS idle (n int); INSERT INTO idle VALUES (1)")
    own_server.ask("BEGIN; CREATE TABLE forgotten (n int); PREPARE TRANSACTION 'forgotten'")
    make_customer(austin, "Ann")

    result = run("pipeline")

    idle.close()
    own_server.ask("ROLLBACK PREPARED 'forgotten'")
    assert result["outcome"] == "succeeded"
    assert lookup(austin) == [("005001", "Ann")]


@pytest.mark.fault("F-17")  # a lock or statement timeout
def test_a_locked_table_makes_the_channel_busy(houston, popup, short_timeouts):
    make_customer(houston, "Ann")
    make_customer(popup, "Bo")
    session = connect_as_owner(houston)
    session.cursor().execute("LOCK TABLE async_address IN ACCESS EXCLUSIVE MODE")

    result = run(JobCode.UPLOAD)
    session.close()
    retry = run(JobCode.UPLOAD)

    assert step_of(result, "houston")["message"] == "Channel houston is busy."
    assert step_of(result, "popup")["counts"]["staged"] == 1
    assert retry["counts"] == {"read": 1, "staged": 1}


@pytest.mark.fault("F-17")  # a lock or statement timeout
def test_a_statement_that_takes_too_long_makes_the_channel_slow(houston, settings):
    make_customer(houston, "Ann")
    session = connect_as_owner(houston)
    session.cursor().execute("LOCK TABLE async_address IN ACCESS EXCLUSIVE MODE")
    settings.CHANNEL_STATEMENT_S, settings.CHANNEL_LOCK_S = 0.2, 20

    result = run(JobCode.UPLOAD)
    session.close()
    retry = run(JobCode.UPLOAD)

    assert result["message"] == "Channel houston is too slow: a statement timed out."
    assert retry["counts"] == {"read": 1, "staged": 1}


@pytest.mark.fault("F-17")  # a lock or statement timeout
def test_a_channel_s_timeouts_do_not_apply_to_hq(houston):
    on_server("ALTER DATABASE ch_houston SET lock_timeout = '1ms'")
    on_server("ALTER DATABASE ch_houston SET statement_timeout = '1ms'")
    make_customer(houston, "Ann")

    assert run("pipeline")["outcome"] == "succeeded"


@pytest.mark.fault("F-18")  # no connection is left
def test_a_channel_without_a_free_connection_fails_alone(houston, popup):
    on_server("DROP ROLE IF EXISTS lonely")
    on_server("CREATE ROLE lonely LOGIN CONNECTION LIMIT 1")
    run_as_owner(houston, "GRANT ALL ON ALL TABLES IN SCHEMA public TO lonely")
    url = till_url(houston).replace("syncline@", "lonely@")
    ChannelDatabase.objects.filter(pk=houston.pk).update(url=url)
    make_customer(houston, "Ann")
    make_customer(popup, "Bo")
    only_connection = psycopg2.connect(url)

    result = run(JobCode.UPLOAD)
    only_connection.close()
    retry = run(JobCode.UPLOAD)

    run_as_owner(houston, "DROP OWNED BY lonely")
    on_server("DROP ROLE lonely")
    assert step_of(result, "houston")["message"] == ("Channel houston accepts no more connections.")
    assert step_of(result, "popup")["counts"]["staged"] == 1
    assert retry["counts"] == {"read": 1, "staged": 1}


@pytest.mark.fault("F-19")  # HQ's server is read-only
def test_a_read_only_channel_fails_and_is_uploaded_later(houston, popup):
    make_customer(houston, "Ann")
    on_server("ALTER DATABASE ch_houston SET default_transaction_read_only = on")

    result = run("pipeline")
    on_server("ALTER DATABASE ch_houston RESET default_transaction_read_only")
    still_waiting = waiting(houston)
    run("pipeline")

    assert step_of(result, "houston")["message"] == "Channel houston is read-only."
    assert (still_waiting, waiting(houston)) == (1, 0)
    assert lookup(houston) == lookup(popup) == [("005001", "Ann")]


@pytest.mark.fault("F-23")  # a row is deleted between read and acknowledgement
def test_an_event_cannot_be_deleted_before_hq_has_acknowledged_it(houston, at_failpoint):
    make_customer(houston, "Ann")
    refusals = []

    def delete_event():
        with pytest.raises(psycopg2.errors.IntegrityConstraintViolation) as refusal:
            run_as_owner(houston, "DELETE FROM async_customer")
        refusals.append(refusal)

    at_failpoint("upload:after_hq_commit", delete_event)

    run("pipeline")

    assert len(refusals) == 1
    assert lookup(houston) == [("005001", "Ann")]


@pytest.mark.fault("F-23")  # a row is deleted between read and acknowledgement
def test_an_event_deleted_past_its_trigger_is_reported(houston, at_failpoint):
    make_customer(houston, "Ann")
    make_customer(houston, "Bo")
    statements = """DROP TRIGGER guard_delete ON async_customer;
                    DELETE FROM async_customer WHERE first_name = 'Ann'"""
    at_failpoint("upload:after_hq_commit", lambda: run_as_owner(houston, statements))

    first = run(JobCode.UPLOAD)
    second = run(JobCode.UPLOAD)

    assert first["outcome"] == "succeeded"
    assert second["outcome"] == "failed"
    assert {incident.kind for incident in Incident.objects.open()} == {
        IncidentKind.EVENT_VANISHED,
        IncidentKind.SCHEMA_DRIFT,
    }
    assert sorted(AsyncCustomer.objects.values_list("first_name", flat=True)) == ["Ann", "Bo"]


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 32 MB; only root can make one."""
    if os.geteuid():
        pytest.skip("only root can mount a file system; CI runs as root")
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(folder)], check=True)
    (folder / "space").mkdir(mode=0o700)
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill_disk(file):
    """Write to the file until the file system is full."""
    with suppress(OSError), file.open("wb") as stream:
        while True:
            stream.write(b"x" * 4096)


@pytest.mark.fault("F-24")  # HQ's disk is full
def test_a_full_disk_at_hq_leaves_all_events_unacknowledged(
    own_hq, own_server, houston, at_failpoint, small_disk
):
    own_server.ask(f"CREATE TABLESPACE small LOCATION '{small_disk / 'space'}'")
    own_server.ask("ALTER TABLE async_customer SET TABLESPACE small", database=own_hq)
    for _ in range(300):
        make_customer(houston, "Ann", last_name="x" * 60, name="y" * 300)
    filler = small_disk / "filler"
    fill_disk(filler)

    result = run(JobCode.UPLOAD)
    still_waiting = waiting(houston)
    filler.unlink()
    retry = run(JobCode.UPLOAD)

    own_server.ask("ALTER TABLE async_customer SET TABLESPACE pg_default", database=own_hq)
    own_server.ask("DROP TABLESPACE small")
    assert step_of(result, "houston")["outcome"] == "failed"
    assert "staged" not in result["counts"]
    assert still_waiting == 300
    assert retry["counts"]["staged"] == 300
    assert waiting(houston) == 0


def table_names(url):
    raw = psycopg2.connect(url)
    with raw.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        names = {name for (name,) in cursor.fetchall()}
    raw.close()
    return names


@pytest.mark.fault("F-29")  # a migration is half done
def test_an_interrupted_migration_leaves_no_tables_and_can_be_repeated(hq, proxy):
    on_server("DROP DATABASE IF EXISTS ch_new WITH (FORCE)")
    on_server("CREATE DATABASE ch_new")
    url = proxy.url("ch_new")
    channel = {"code": "new", "name": "New", "kind": "store", "company": "USRT", "database": url}
    proxy.cut_mid_query(of=b"CREATE TRIGGER guard_update")

    with pytest.raises(Exception, match="cannot be reached"):
        register_channel(**channel)

    proxy.heal()
    assert table_names(url) <= {"django_migrations"}
    database = register_channel(**channel)
    make_customer(database, "Ann")
    assert run("pipeline")["outcome"] == "succeeded"
    on_server("DROP DATABASE ch_new WITH (FORCE)")
