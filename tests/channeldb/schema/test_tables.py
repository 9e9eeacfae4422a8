"""The tables of a channel are those of the contract, on both engines and in the models.

From conftest.py: `houston` is a channel on PostgreSQL; `register` is a channel on SQLite; `channel`
is a channel, once on PostgreSQL and once on SQLite; `till` writes into a channel, once on
PostgreSQL and once on SQLite; `postgresql_till` writes into a channel on PostgreSQL; `sqlite_till`
writes into a channel on SQLite.
"""
# ruff: noqa: S608 - the names in the SQL come from the schema

import hashlib
import re

import pytest
from django.apps import apps
from django.db import connections
from django.db.migrations.executor import MigrationExecutor

from stores.channeldb.connect.connection import connect
from stores.channeldb.schema import ddl
from stores.channeldb.schema.tables import (
    CHANNEL_TABLES,
    EVENT_TABLES,
    HQ_TABLES,
    NO_COLUMNS,
    PART_TABLES,
    TABLE_BY_NAME,
)
from tests.support.channels import event, full_row, guid

# What migration 0001 runs, and what it ran before there was `based_on`. It has landed: a change of
# schema, ddl or guards that alters these needs a migration of its own.
LANDED = {
    ("postgresql", NO_COLUMNS): "21c3fbd0e203e7f2",
    ("sqlite", NO_COLUMNS): "142e50be718d34bd",
    ("postgresql", frozenset({"based_on"})): "686966a8d3be7997",
    ("sqlite", frozenset({"based_on"})): "90fb20de3146286e",
}
POSTGRESQL_COLUMNS = """
    SELECT column_name, data_type, is_nullable = 'NO', numeric_precision, numeric_scale
      FROM information_schema.columns WHERE table_schema = 'public' AND table_name = %s
     ORDER BY ordinal_position"""
# PostgreSQL's precision, in bits, and scale of whole numbers.
INTEGER_SIZES = {"integer": (32, 0), "bigint": (64, 0), "counter": (64, 0)}


def names(tables):
    return [table.name for table in tables]


@pytest.mark.parametrize(("vendor", "lacking"), LANDED)
def test_the_landed_migration_still_runs_the_same_statements(vendor, lacking):
    text = "\n".join(ddl.statements(vendor, lacking=lacking))

    assert hashlib.sha256(text.encode()).hexdigest()[:16] == LANDED[vendor, lacking]


def test_a_channel_has_exactly_the_tables_of_the_contract(till):
    tables = connections[till.alias].introspection.table_names()

    assert set(tables) == {*TABLE_BY_NAME, "django_migrations"}


@pytest.mark.parametrize("table", names(CHANNEL_TABLES))
def test_postgresql_columns_are_those_of_the_schema(postgresql_till, table):
    types = {
        "uuid": "uuid",
        "counter": "bigint",
        "text": "text",
        "time": "timestamp with time zone",
        "date": "date",
        "boolean": "boolean",
        "money": "numeric",
        "integer": "integer",
        "bigint": "bigint",
        "json": "jsonb",
    }
    rows = postgresql_till.sql(POSTGRESQL_COLUMNS, table)

    assert rows == [
        (
            column.name,
            types[column.kind],
            column.required or column.kind == "counter",
            *((18, 4) if column.kind == "money" else INTEGER_SIZES.get(column.kind, (None, None))),
        )
        for column in TABLE_BY_NAME[table].columns
    ]


@pytest.mark.parametrize("table", names(CHANNEL_TABLES))
def test_sqlite_columns_are_those_of_the_schema(sqlite_till, table):
    types = {"counter": "INTEGER", "boolean": "INTEGER", "integer": "INTEGER", "bigint": "INTEGER"}

    rows = sqlite_till.sql(f"SELECT name, type, \"notnull\" FROM pragma_table_info('{table}')")

    assert rows == [
        (column.name, types.get(column.kind, "TEXT"), int(column.required))
        for column in TABLE_BY_NAME[table].columns
    ]


@pytest.mark.parametrize("table", names(EVENT_TABLES))
def test_counter_offline_flag_and_acknowledgement_have_defaults(till, table):
    extra = {"async_address": "address_id", "async_contact": "contact_id"}
    row = event(**({extra[table]: guid()} if table in extra else {}))

    till.insert(table, **row)
    till.insert(table, **{**row, **{name: guid() for name in row if name.endswith("_id")}})

    first, second = till.sql(
        f"""SELECT replication_counter, created_offline, acknowledged_at
              FROM {table} ORDER BY replication_counter"""
    )
    assert first[1:] == second[1:] == (False, None)
    assert second[0] == first[0] + 1


@pytest.mark.parametrize("table", names(CHANNEL_TABLES))
def test_every_column_can_be_written(till, table):
    if table == "exchange_state":
        till.sql("DELETE FROM exchange_state")

    till.insert(table, **full_row(table))

    assert till.value(f"SELECT count(*) FROM {table}") == 1


@pytest.mark.parametrize("table", names(EVENT_TABLES))
@pytest.mark.parametrize("column", ["event_id", "occurred_at"])
def test_an_event_without_a_key_or_a_time_is_refused(till, table, column):
    with till.refused("(?i)not.null"):
        till.insert(table, **full_row(table, **{column: None}))


@pytest.mark.parametrize("table", names(EVENT_TABLES))
def test_unacknowledged_events_have_an_index(till, table):
    source = {
        "postgresql": "SELECT indexdef FROM pg_indexes WHERE indexname = %s",
        "sqlite": "SELECT sql FROM sqlite_master WHERE type = 'index' AND name = %s",
    }
    definition = till.value(source[till.vendor], f"{table}_waiting")

    # PostgreSQL sets the condition in brackets.
    without_brackets = definition.replace("(", "").replace(")", "")
    assert without_brackets.endswith("replication_counter WHERE acknowledged_at IS NULL")


def test_unacknowledged_events_are_found_by_their_index(sqlite_till):
    plan = sqlite_till.sql(
        "EXPLAIN QUERY PLAN SELECT event_id FROM async_customer"
        " WHERE acknowledged_at IS NULL ORDER BY replication_counter LIMIT 10"
    )

    assert "async_customer_waiting" in str(plan)


@pytest.mark.parametrize(
    "table", ["customer", "customer_address", "customer_contact", "account_map"]
)
def test_rows_of_an_account_are_found_by_an_index(sqlite_till, table):
    plan = sqlite_till.sql(
        f"EXPLAIN QUERY PLAN SELECT * FROM {table} WHERE company = %s AND account_number = %s",
        "USMF",
        "C-000001",
    )

    assert "SEARCH" in str(plan)


def test_each_new_database_has_an_identity_of_its_own(houston, register):
    identifiers = set()
    for channel in (houston, register):
        with connect(channel) as alias, connections[alias].cursor() as cursor:
            cursor.execute("SELECT database_id, nonce, epoch, account_high FROM exchange_state")
            [(database_id, nonce, epoch, account_high)] = cursor.fetchall()
            identifiers |= {str(database_id), str(nonce)}
            assert (epoch, account_high) == (0, "{}")

    assert len(identifiers) == 4


def test_a_second_identity_is_refused(till):
    with till.refused("(?i)unique"):
        till.insert("exchange_state", **full_row("exchange_state"))


def test_columns_that_hq_leaves_out_have_defaults(till):
    till.insert("customer", company="USMF", account_number="C-000001")
    till.insert("account_map", async_account=guid(), company="USMF", account_number="C-000001")
    till.insert("applied_session", session_id=guid(), part=1, job="1010", rows=3)

    assert till.sql("SELECT is_blocked, is_active, hq_version FROM customer") == [(False, True, 0)]
    assert till.value("SELECT received_at FROM account_map")
    assert till.value("SELECT applied_at FROM applied_session")


def test_a_default_time_in_sqlite_has_an_offset(sqlite_till):
    sqlite_till.insert("applied_session", session_id=guid(), part=1)

    written = sqlite_till.value("SELECT applied_at FROM applied_session")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", written)


def test_the_migration_can_be_reversed_and_applied_again(channel):
    with connect(channel, migrate=True) as alias:
        wrapper = connections[alias]
        MigrationExecutor(wrapper).migrate([("channeldb", None)])
        after_reversal = set(wrapper.introspection.table_names(include_views=True))
        executor = MigrationExecutor(wrapper)
        executor.migrate(executor.loader.graph.leaf_nodes("channeldb"))
        after_migration = set(wrapper.introspection.table_names(include_views=True))

    assert after_reversal - {"sqlite_sequence"} == {"django_migrations"}
    assert after_migration >= {*TABLE_BY_NAME, "customer_lookup"}


def test_every_model_is_a_table_of_the_schema():
    models = apps.get_app_config("channeldb").get_models()

    assert {model._meta.db_table for model in models} == TABLE_BY_NAME.keys()


def test_only_tables_of_tills_have_triggers():
    assert all(table.triggers for table in EVENT_TABLES + PART_TABLES)
    assert not any(table.triggers for table in HQ_TABLES)
