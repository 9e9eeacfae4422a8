"""Triggers of both engines keep every event as its till wrote it.

From conftest.py: `till` writes into a channel, once on PostgreSQL and once on SQLite.
"""
# ruff: noqa: S608 - the names in the SQL come from the schema

from stores.channeldb.schema.tables import TABLE_BY_NAME
from tests.support.channels import TIME, event, full_row, guid, value_of


def fixed_columns(table):
    """The columns of an event that never change."""
    columns = TABLE_BY_NAME[table].columns
    return [column for column in columns if column.name != "acknowledged_at"]


def test_an_event_cannot_start_acknowledged(till, table):
    with till.refused("starts unacknowledged"):
        till.insert(table, **full_row(table), acknowledged_at=TIME)


def test_an_acknowledgement_can_be_taken_back(till, table):
    till.insert(table, **full_row(table))

    till.acknowledge(table)
    till.sql(f"UPDATE {table} SET acknowledged_at = NULL")

    assert till.value(f"SELECT acknowledged_at FROM {table}") is None


def test_no_other_column_of_an_event_can_change(till, table):
    till.insert(table, **full_row(table))

    for column in fixed_columns(table):
        value = 99 if column.kind == "counter" else value_of(column, other=True)
        with till.refused("an event never changes|can only be updated to DEFAULT"):
            till.sql(f"UPDATE {table} SET {column.name} = %s", value)


def test_no_column_of_an_event_can_be_set_to_null(till, table):
    till.insert(table, **full_row(table))

    for column in fixed_columns(table):
        # PostgreSQL lets nobody write the counter, whatever the value.
        if column.kind == "counter":
            continue
        with till.refused("an event never changes"):
            till.sql(f"UPDATE {table} SET {column.name} = NULL")


def test_an_acknowledgement_cannot_hide_a_change(till, table):
    till.insert(table, **full_row(table))

    with till.refused("an event never changes"):
        till.sql(f"UPDATE {table} SET acknowledged_at = %s, staff_id = 'x'", TIME)


def test_an_acknowledged_event_cannot_change_either(till, table):
    till.insert(table, **full_row(table))
    till.acknowledge(table)

    with till.refused("an event never changes"):
        till.sql(f"UPDATE {table} SET staff_id = 'x'")


def test_an_event_can_be_deleted_once_it_is_acknowledged(till, table):
    till.insert(table, **full_row(table))

    with till.refused("not yet acknowledged"):
        till.sql(f"DELETE FROM {table}")
    till.acknowledge(table)
    till.sql(f"DELETE FROM {table}")

    assert till.count(table) == 0


def test_a_counter_is_not_used_again_after_a_deletion(till, table):
    till.insert(table, **full_row(table))
    used = till.value(f"SELECT replication_counter FROM {table}")
    till.acknowledge(table)
    till.sql(f"DELETE FROM {table}")

    till.insert(table, **full_row(table))

    assert till.value(f"SELECT replication_counter FROM {table}") == used + 1


def test_another_event_with_a_used_id_is_refused(till, table):
    row = full_row(table)
    till.insert(table, **row)

    with till.refused("this key is taken|duplicate key"):
        till.insert(table, **{**row, "staff_id": "x"})


def test_another_event_with_a_used_transaction_id_is_refused(till):
    row = full_row("retail_transaction")
    till.insert("retail_transaction", **row)

    with till.refused("this key is taken|duplicate key"):
        till.insert("retail_transaction", **{**row, "event_id": guid()})


def test_a_refusal_quotes_no_value_of_the_row(till):
    till.insert("async_customer", **event(first_name="Ann", email="ann@example.com"))

    with till.refused("never changes") as refusal:
        till.sql("UPDATE async_customer SET email = 'bo@example.com'")

    assert "example.com" not in str(refusal.value)
