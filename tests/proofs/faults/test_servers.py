"""Servers that die, stop, refuse, fill up or are in somebody's way."""

import json
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
    Quarantine,
    RetailTransaction,
)
from stores.models.incident import IncidentKind
from stores.models.run import RunStatus
from stores.pipeline.register import register_channel
from tests.support.after_a_fault import broken, step_of, waiting
from tests.support.channels import on_server
from tests.support.make import article, as_it_is, lookup, make_customer, make_sale, run, sale_rows

pytestmark = pytest.mark.slow

INTERRUPTED = (Error, psycopg2.Error)


def till(database):
    """A connection of the till's owner, past HQ."""
    return psycopg2.connect(till_url(database))


def on_channel(database, statement):
    """One statement of the database's owner, committed."""
    with till(database) as owner, owner.cursor() as cursor:
        cursor.execute(statement)
    owner.close()


# ------------------------------------------------------------------- HQ's server


@pytest.fixture
def own_hq(hq, own_server, houston, popup):
    """HQ on a server that may be killed, with houston and popup registered."""
    name = own_server.copy_hq()
    known = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict |= {"HOST": own_server.sockets, "PORT": "5432"}
    yield name
    connection.close()
    connection.settings_dict |= known


POINTS = ["upload:before_hq_commit", "upload:after_hq_commit", "convert:before_commit"]


@pytest.mark.fault("F-11")
@pytest.mark.parametrize("point", POINTS)
def test_hq_goes_on_after_one_of_its_backends_was_killed(own_hq, own_server, houston, at, point):
    make_customer(houston, "Ann")
    at(point, lambda: (own_server.kill_one(own_hq), own_server.start()))

    with suppress(*INTERRUPTED):
        run("pipeline")
    connection.close()
    run("pipeline")
    make_customer(houston, "Bo")
    run("pipeline")

    assert lookup(houston) == [("005001", "Ann"), ("005002", "Bo")]
    assert not JobRun.objects.filter(status=RunStatus.RUNNING).exists()
    assert broken() == []


@pytest.mark.fault("F-12")
@pytest.mark.parametrize("point", ["upload:after_hq_commit", "convert:after_commit"])
def test_hq_goes_on_after_its_server_was_killed(own_hq, own_server, houston, popup, at, point):
    make_customer(houston, "Ann")
    make_customer(popup, "Bo")
    at(point, own_server.kill)

    with suppress(*INTERRUPTED):
        run("pipeline")
    own_server.start()
    connection.close()
    held = AsyncCustomer.objects.count()
    run("pipeline")

    assert held >= 1
    assert sorted(number for number, _ in lookup(houston)) == ["005001", "005002"]
    assert lookup(houston) == lookup(popup)
    assert broken() == []


# -------------------------------------------------------------- a channel's server


@pytest.fixture
def austin(own_server, popup):
    """A store on a server of its own."""
    own_server.start()
    own_server.ask("DROP DATABASE IF EXISTS ch_austin WITH (FORCE)")
    own_server.ask("CREATE DATABASE ch_austin")
    return register_austin(own_server, "ch_austin")


def register_austin(server, name):
    """A store whose database is on a server of its own."""
    return register_channel(
        code="austin",
        name="Austin",
        kind="store",
        company="USRT",
        database=server.url(name),
    )


@pytest.mark.fault("F-13")
@pytest.mark.parametrize("end", ["stop_at_once", "kill"])
def test_channel_whose_server_is_down_fails_alone(own_server, austin, popup, end):
    make_customer(austin, "Ann")
    make_customer(popup, "Bo")
    getattr(own_server, end)()

    found = run("pipeline")
    own_server.start()
    again = run("pipeline")

    assert step_of(found, "austin")["message"] == "Channel austin cannot be reached."
    assert lookup(popup)[0] == ("005001", "Bo")
    assert again["counts"]["staged"] == 1
    assert lookup(austin) == lookup(popup) == [("005001", "Bo"), ("005002", "Ann")]


@pytest.mark.fault("F-13")
def test_channel_whose_server_dies_within_a_visit_keeps_what_it_committed(
    own_server, austin, popup, at
):
    make_customer(austin, "Ann")
    at("upload:after_hq_commit", own_server.kill)

    found = run("P-0001")
    own_server.start()
    before = waiting(austin)
    again = run("P-0001")

    assert step_of(found, "austin")["outcome"] == "failed"
    assert (before, waiting(austin)) == (1, 0)
    assert again["counts"] == {"read": 1, "unchanged": 1}


@pytest.mark.fault("F-21")
def test_old_transactions_elsewhere_hold_up_nothing(own_server, austin):
    """Neither an idle writer in another database nor a prepared transaction nobody finishes."""
    other = psycopg2.connect(host=own_server.sockets, user="syncline", dbname="syncline")
    other.cursor().execute("CREATE TABLE IF NOT EXISTS idle (n int); INSERT INTO idle VALUES (1)")
    own_server.ask("BEGIN; CREATE TABLE forgotten (n int); PREPARE TRANSACTION 'forgotten'")

    make_customer(austin, "Ann")
    found = run("pipeline")

    other.close()
    own_server.ask("ROLLBACK PREPARED 'forgotten'")
    assert found["outcome"] == "succeeded"
    assert lookup(austin) == [("005001", "Ann")]


# ------------------------------------------------------- limits and refusals of a channel


@pytest.mark.fault("F-17")
def test_lock_that_somebody_holds_makes_the_channel_busy(houston, popup, impatient):
    make_customer(houston, "Ann")
    make_customer(popup, "Bo")
    holder = till(houston)
    holder.cursor().execute("LOCK TABLE async_address IN ACCESS EXCLUSIVE MODE")

    found = run("P-0001")
    holder.close()
    again = run("P-0001")

    assert step_of(found, "houston")["message"] == "Channel houston is busy."
    assert step_of(found, "popup")["counts"]["staged"] == 1
    assert again["counts"] == {"read": 1, "staged": 1}


@pytest.mark.fault("F-17")
def test_statement_that_takes_too_long_makes_the_channel_slow(houston, settings):
    make_customer(houston, "Ann")
    holder = till(houston)
    holder.cursor().execute("LOCK TABLE async_address IN ACCESS EXCLUSIVE MODE")
    settings.CHANNEL_STATEMENT_S, settings.CHANNEL_LOCK_S = 0.2, 20

    found = run("P-0001")
    holder.close()
    again = run("P-0001")

    assert found["message"] == "Channel houston is too slow: a statement timed out."
    assert again["counts"] == {"read": 1, "staged": 1}


@pytest.mark.fault("F-17")
def test_limits_of_the_role_do_not_count(houston):
    on_server("ALTER DATABASE ch_houston SET lock_timeout = '1ms'")
    on_server("ALTER DATABASE ch_houston SET statement_timeout = '1ms'")
    make_customer(houston, "Ann")

    assert run("pipeline")["outcome"] == "succeeded"


@pytest.mark.fault("F-18")
def test_channel_without_a_free_connection_waits(houston, popup):
    on_server("DROP ROLE IF EXISTS lonely")
    on_server("CREATE ROLE lonely LOGIN CONNECTION LIMIT 1")
    on_channel(houston, "GRANT ALL ON ALL TABLES IN SCHEMA public TO lonely")
    url = f"{till_url(houston)}".replace("syncline@", "lonely@")
    ChannelDatabase.objects.filter(pk=houston.pk).update(url=url)
    make_customer(houston, "Ann")
    make_customer(popup, "Bo")
    taken = psycopg2.connect(url)

    found = run("P-0001")
    taken.close()
    again = run("P-0001")

    on_channel(houston, "DROP OWNED BY lonely")
    on_server("DROP ROLE lonely")
    assert step_of(found, "houston")["message"] == ("Channel houston accepts no more connections.")
    assert step_of(found, "popup")["counts"]["staged"] == 1
    assert again["counts"] == {"read": 1, "staged": 1}


@pytest.mark.fault("F-19")
def test_channel_that_takes_no_changes_is_read_only(houston, popup):
    make_customer(houston, "Ann")
    on_server("ALTER DATABASE ch_houston SET default_transaction_read_only = on")

    found = run("pipeline")
    on_server("ALTER DATABASE ch_houston RESET default_transaction_read_only")
    before = waiting(houston)
    run("pipeline")

    assert step_of(found, "houston")["message"] == "Channel houston is read-only."
    assert (before, waiting(houston)) == (1, 0)
    assert lookup(houston) == lookup(popup) == [("005001", "Ann")]


@pytest.mark.fault("F-23")
def test_event_cannot_be_deleted_before_hq_has_acknowledged_it(houston, at):
    make_customer(houston, "Ann")
    refused = []

    def delete():
        with pytest.raises(psycopg2.errors.IntegrityConstraintViolation) as error:
            on_channel(houston, "DELETE FROM async_customer")
        refused.append(error)

    at("upload:after_hq_commit", delete)

    run("pipeline")

    assert refused
    assert lookup(houston) == [("005001", "Ann")]


@pytest.mark.fault("F-23")
def test_event_deleted_past_the_guard_is_kept_by_hq_and_reported(houston, at):
    make_customer(houston, "Ann")
    make_customer(houston, "Bo")
    at(
        "upload:after_hq_commit",
        lambda: on_channel(
            houston,
            "DROP TRIGGER guard_delete ON async_customer; "
            "DELETE FROM async_customer WHERE first_name = 'Ann'",
        ),
    )

    first = run("P-0001")
    second = run("P-0001")

    assert first["outcome"] == "succeeded"
    assert second["outcome"] == "failed"
    assert {incident.kind for incident in Incident.objects.open()} == {
        IncidentKind.EVENT_VANISHED,
        IncidentKind.SCHEMA_DRIFT,
    }
    assert sorted(AsyncCustomer.objects.values_list("first_name", flat=True)) == ["Ann", "Bo"]


# ------------------------------------------------------------------------ disk full


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


@pytest.mark.fault("F-24")
def test_hq_without_room_leaves_the_channel_untouched(own_hq, own_server, houston, at, small_disk):
    own_server.ask(f"CREATE TABLESPACE small LOCATION '{small_disk / 'space'}'")
    own_server.ask("ALTER TABLE async_customer SET TABLESPACE small", database=own_hq)
    filler = small_disk / "filler"
    for _ in range(300):
        make_customer(houston, "Ann", last_name="x" * 60, name="y" * 300)

    def fill():
        with suppress(OSError), filler.open("wb") as file:
            while True:
                file.write(b"x" * 4096)

    fill()
    full = run("P-0001")
    before = waiting(houston)
    filler.unlink()
    found = run("P-0001")

    own_server.ask("ALTER TABLE async_customer SET TABLESPACE pg_default", database=own_hq)
    own_server.ask("DROP TABLESPACE small")
    assert step_of(full, "houston")["outcome"] == "failed"
    assert "staged" not in full["counts"]
    assert before == 300
    assert found["counts"]["staged"] == 300
    assert waiting(houston) == 0


# ------------------------------------------------------------------ other encodings


@pytest.fixture
def encoded(own_server, popup):
    """Registers a store whose database has another encoding."""

    def make(encoding):
        own_server.start()
        name = f"ch_{encoding.lower()}"
        own_server.ask(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        own_server.ask(
            f"CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LOCALE 'C'"
        )
        return register_austin(own_server, name)

    return make


@pytest.mark.fault("F-30")
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_database_in_another_encoding_is_read_as_utf8(encoded, popup, encoding):
    austin = encoded(encoding)
    make_customer(austin, "Zoë")

    run("pipeline")

    assert lookup(popup) == lookup(austin) == [("005001", "Zoë")]


@pytest.mark.fault("F-30")
def test_bytes_that_are_no_text_go_to_quarantine_and_stop_nobody(encoded, popup):
    austin = encoded("SQL_ASCII")
    make_customer(austin, "Zoë")
    on_channel(
        austin,
        "SET client_encoding = 'SQL_ASCII'; INSERT INTO async_customer "
        "(event_id, occurred_at, operation, async_account, customer_type, first_name, last_name) "
        "SELECT gen_random_uuid(), now(), 'create', gen_random_uuid(), 'person', "
        "convert_from('\\xe9', 'SQL_ASCII'), 'Lee'",
    )

    found = run("pipeline")

    assert found["counts"]["quarantined"] == 1
    assert found["counts"]["converted"] == 1
    with connection.cursor() as cursor:
        cursor.execute("SELECT reason, field, convert_from(raw, 'UTF8')::jsonb FROM quarantine")
        [(reason, field, raw)] = cursor.fetchall()
    assert (reason, field) == ("encoding", "first_name")
    assert "6Q==" in str(raw)
    assert waiting(austin) == 0


@pytest.mark.fault("F-30")
@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_sales_in_another_encoding_are_read_as_utf8_and_posted(encoded, popup, encoding):
    austin = encoded(encoding)
    make_sale(austin, lines=[article(description="Café crème")], receipt_number="N° 1")

    assert run("eod")["outcome"] == "succeeded"

    sale = RetailTransaction.objects.get(sales_order__isnull=False)
    assert (sale.lines.get().description, sale.receipt_number) == ("Café crème", "N° 1")


@pytest.mark.fault("F-30")
def test_a_sale_with_bytes_that_are_no_text_is_set_aside_whole_and_stops_nobody(encoded, popup):
    austin = encoded("SQL_ASCII")
    broken = {
        "receipt_number": "retail_transaction",
        "description": "retail_transaction_line",
        "tender_type": "retail_transaction_payment",
    }
    make_sale(austin, transaction_id="T-0")
    for column, table in broken.items():
        rows = sale_rows(austin, "10.00", "5.00", transaction_id=f"T-{column}")
        rows[table][-1][column] = "\\xe9"
        write_in_bytes(austin, rows)
    make_sale(austin, lines=[article(description="Café")], transaction_id="T-9")

    found = run("eod")

    assert (found["outcome"], found["counts"]["posted"]) == ("succeeded", 2)
    kept = dict(Quarantine.objects.order_by("pk").values_list("field", "raw"))
    assert list(kept) == list(broken)
    for raw in map(json.loads, map(bytes, kept.values())):
        assert "6Q==" in str(raw)
        assert len(raw["retail_transaction_line"]) == 2
        assert len(raw["retail_transaction_payment"]) == 1
    assert waiting(austin, "retail_transaction") == 0


def write_in_bytes(database, tables):
    """Write rows whose texts may hold bytes that are no UTF-8, each as its escape."""
    with till(database) as owner, owner.cursor() as cursor:
        for table, row in ((table, row) for table, rows in tables.items() for row in rows):
            marks = (
                r"convert_from('\xe9', 'SQL_ASCII')" if value == "\\xe9" else "%s"
                for value in row.values()
            )
            cursor.execute(
                f"INSERT INTO {table} ({', '.join(row)}) VALUES ({', '.join(marks)})",  # noqa: S608
                [value for value in map(as_it_is, row.values()) if value != "\\xe9"],
            )
    owner.close()


@pytest.mark.fault("F-30")
def test_name_that_a_channel_s_encoding_cannot_hold_is_told_and_stops_nobody(encoded, popup):
    austin = encoded("LATIN1")
    make_customer(popup, "Łukasz")
    make_customer(popup, "Zoë")

    run("pipeline")

    assert [name for _, name in lookup(austin)] == ["Zoë"]
    told = Incident.objects.open().get()
    assert (told.kind, told.database, told.subject) == ("row_refused", austin, "customers")


# ---------------------------------------------------------------- half migrated


@pytest.mark.fault("F-29")
def test_migration_that_dies_midway_leaves_nothing(hq, line):
    on_server("DROP DATABASE IF EXISTS ch_new WITH (FORCE)")
    on_server("CREATE DATABASE ch_new")
    line.cut_mid_query(of=b"CREATE TRIGGER guard_update")

    values = {"code": "new", "name": "New", "kind": "store", "company": "USRT"}
    with pytest.raises(Exception, match="cannot be reached"):
        register_channel(database=line.url("ch_new"), **values)
    line.heal()
    tables = tables_behind(line)
    made = register_channel(database=line.url("ch_new"), **values)

    assert tables <= {"django_migrations"}
    make_customer(made, "Ann")
    assert run("pipeline")["outcome"] == "succeeded"
    on_server("DROP DATABASE ch_new WITH (FORCE)")


def tables_behind(line):
    found = psycopg2.connect(line.url("ch_new"))
    with found.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        names = {name for (name,) in cursor.fetchall()}
    found.close()
    return names
