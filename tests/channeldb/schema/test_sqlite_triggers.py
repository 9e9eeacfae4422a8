"""Triggers of SQLite refuse every statement that would change or replace an event.

From conftest.py: `sqlite_till` writes into a channel on SQLite.
"""
# ruff: noqa: S608 - the names in the SQL come from the schema

import pytest

from stores.channeldb.schema.tables import TABLE_BY_NAME
from tests.support.channels import TIME, event, full_row, guid, value_of


def test_a_row_that_differs_in_any_column_is_no_repeat(sqlite_till, table):
    row = full_row(table)
    sqlite_till.insert(table, **row)

    for column in TABLE_BY_NAME[table].columns:
        # With another event id it is another event.
        if column.name in row.keys() - {"event_id", "transaction_id"}:
            for value in (value_of(column, other=True), None):
                with sqlite_till.refused("this key is taken|NOT NULL"):
                    sqlite_till.insert(table, **{**row, column.name: value})


@pytest.mark.parametrize("verb", ["INSERT", "INSERT OR IGNORE", "INSERT OR REPLACE", "REPLACE"])
def test_a_repeat_of_an_event_is_ignored(sqlite_till, table, verb):
    row = full_row(table)
    sqlite_till.insert(table, **row)
    sqlite_till.acknowledge(table)

    sqlite_till.insert(table, verb, **row)

    assert sqlite_till.sql(f"SELECT acknowledged_at FROM {table}") == [(TIME,)]


def test_a_repeated_row_among_new_ones_is_ignored(sqlite_till):
    first, second = event(), event()
    sqlite_till.insert("async_customer", **first)

    sqlite_till.sql(
        "INSERT INTO async_customer (event_id, occurred_at, operation)"
        " VALUES (%s, %s, %s), (%s, %s, %s)",
        *first.values(),
        *second.values(),
    )

    assert sqlite_till.count("async_customer") == 2


@pytest.mark.parametrize("verb", ["INSERT OR REPLACE", "INSERT OR IGNORE", "REPLACE"])
def test_no_clause_lets_another_event_use_an_id_again(sqlite_till, table, verb):
    row = full_row(table)
    sqlite_till.insert(table, **row)

    with sqlite_till.refused("this key is taken"):
        sqlite_till.insert(table, verb, **{**row, "staff_id": "x"})


def test_replacing_by_counter_is_refused(sqlite_till, table):
    sqlite_till.insert(table, **full_row(table))
    other = {"transaction_id": "T-2"} if table == "retail_transaction" else {}

    with sqlite_till.refused("this key is taken"):
        sqlite_till.insert(
            table, "INSERT OR REPLACE", **full_row(table, **other), replication_counter=1
        )


def test_replacing_by_transaction_id_is_refused(sqlite_till):
    row = full_row("retail_transaction")
    sqlite_till.insert("retail_transaction", **row)

    with sqlite_till.refused("this key is taken"):
        sqlite_till.insert("retail_transaction", "INSERT OR REPLACE", **{**row, "event_id": guid()})


@pytest.mark.parametrize("name", ["rowid", "_rowid_", "oid"])
def test_the_row_number_of_an_event_cannot_change(sqlite_till, table, name):
    sqlite_till.insert(table, **full_row(table))

    with sqlite_till.refused("an event never changes"):
        sqlite_till.sql(f"UPDATE {table} SET {name} = 7")


def test_update_or_replace_cannot_remove_an_event(sqlite_till):
    first, second = event(), event()
    sqlite_till.insert("async_customer", **first)
    sqlite_till.insert("async_customer", **second)

    with sqlite_till.refused("an event never changes"):
        sqlite_till.sql(
            "UPDATE OR REPLACE async_customer SET event_id = %s WHERE replication_counter = 2",
            first["event_id"],
        )


@pytest.mark.parametrize("number", [0, -1, -7])
def test_a_counter_below_one_is_refused(sqlite_till, table, number):
    with sqlite_till.refused("leave out replication_counter"):
        sqlite_till.insert(table, **full_row(table), replication_counter=number)


def test_a_text_stored_as_bytes_is_a_change(sqlite_till):
    sqlite_till.insert("async_customer", **event(first_name="Ann"))

    with sqlite_till.refused("an event never changes"):
        sqlite_till.sql("UPDATE async_customer SET first_name = CAST('Ann' AS BLOB)")


def test_another_letter_case_is_a_change(sqlite_till):
    sqlite_till.insert("async_customer", **event(first_name="Ann"))

    with sqlite_till.refused("an event never changes"):
        sqlite_till.sql("UPDATE async_customer SET first_name = 'ann'")


def test_an_upsert_cannot_change_an_event(sqlite_till):
    row = event()
    sqlite_till.insert("async_customer", **row)

    sqlite_till.insert(
        "async_customer", **row, ending="ON CONFLICT (event_id) DO UPDATE SET staff_id = 'x'"
    )

    assert sqlite_till.value("SELECT staff_id FROM async_customer") is None
