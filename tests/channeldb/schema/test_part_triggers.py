"""Triggers keep the lines and payments of a transaction as its till wrote them.

From conftest.py: `till` writes into a channel, once on PostgreSQL and once on SQLite;
`postgresql_till` writes into a channel on PostgreSQL; `sqlite_till` writes into a channel on
SQLite.
"""
# ruff: noqa: S608 - the names in the SQL come from the schema

import pytest

from stores.channeldb.schema.tables import PART_TABLES, TABLE_BY_NAME
from tests.support.channels import full_row, value_of

PARTS = [table.name for table in PART_TABLES]


@pytest.fixture(params=PARTS)
def part(request):
    return request.param


def write_document(till, part):
    """Write a transaction with one line or payment. Returns the row of that part."""
    till.insert("retail_transaction", **full_row("retail_transaction", transaction_id="T-1"))
    row = full_row(part, transaction_id="T-1", line_number=1)
    till.insert(part, **row)
    return row


def test_a_line_never_changes(till, part):
    write_document(till, part)

    for column in TABLE_BY_NAME[part].columns:
        with till.refused("an event never changes"):
            till.sql(f"UPDATE {part} SET {column.name} = %s", value_of(column, other=True))
    till.acknowledge("retail_transaction")
    with till.refused("an event never changes"):
        till.sql(f"UPDATE {part} SET line_number = 2")


def test_a_line_can_be_added_until_its_header_is_acknowledged(till, part):
    row = write_document(till, part)
    till.insert(part, **{**row, "line_number": 2})
    till.acknowledge("retail_transaction")

    with till.refused("its document is acknowledged"):
        till.insert(part, **{**row, "line_number": 3})
    assert till.count(part) == 2


def test_a_line_may_come_before_its_header(till, part):
    till.insert(part, **full_row(part, transaction_id="T-9"))

    till.insert("retail_transaction", **full_row("retail_transaction", transaction_id="T-9"))

    assert till.count(part) == 1


def test_a_line_can_be_deleted_once_its_header_is_acknowledged(till, part):
    write_document(till, part)

    with till.refused("not yet acknowledged"):
        till.sql(f"DELETE FROM {part}")
    till.acknowledge("retail_transaction")
    till.sql(f"DELETE FROM {part}")

    assert till.count(part) == 0


def test_a_line_without_a_header_cannot_be_deleted(till, part):
    till.insert(part, **full_row(part, transaction_id="T-9"))

    with till.refused("not yet acknowledged"):
        till.sql(f"DELETE FROM {part}")


def test_another_line_with_a_used_number_is_refused(till, part):
    row = write_document(till, part)
    changed = "amount" if "amount" in row else "quantity"

    with till.refused("this key is taken|duplicate key"):
        till.insert(part, **{**row, changed: "99.0000"})


def test_a_repeat_of_a_document_has_no_effect(till, part):
    row = write_document(till, part)
    till.acknowledge("retail_transaction")
    ending = "ON CONFLICT DO NOTHING" if till.vendor == "postgresql" else ""

    till.insert(part, **row, ending=ending)

    assert till.count(part) == 1


def test_a_table_of_lines_is_never_truncated(postgresql_till, part):
    with postgresql_till.refused("never emptied"):
        postgresql_till.sql(f"TRUNCATE {part}")


def test_lines_inserted_together_are_refused_together(postgresql_till, part):
    write_document(postgresql_till, part)
    postgresql_till.acknowledge("retail_transaction")

    with postgresql_till.refused("its document is acknowledged"):
        postgresql_till.sql(
            f"INSERT INTO {part} (transaction_id, line_number)"
            " SELECT 'T-' || number, 7 FROM generate_series(1, 50) AS number"
        )
    assert postgresql_till.count(part) == 1


@pytest.mark.parametrize("verb", ["INSERT OR REPLACE", "INSERT OR IGNORE", "REPLACE"])
def test_no_clause_lets_another_line_use_a_number_again(sqlite_till, part, verb):
    row = write_document(sqlite_till, part)
    changed = "amount" if "amount" in row else "quantity"

    with sqlite_till.refused("this key is taken"):
        sqlite_till.insert(part, verb, **{**row, changed: "99.0000"})


def test_a_line_has_no_row_number(sqlite_till, part):
    with sqlite_till.refused("no such column"):
        sqlite_till.sql(f"SELECT rowid FROM {part}")


def test_a_line_that_differs_in_any_column_is_no_repeat(sqlite_till, part):
    row = write_document(sqlite_till, part)

    for column in TABLE_BY_NAME[part].columns:
        if column.name not in ("transaction_id", "line_number"):
            for value in (value_of(column, other=True), None):
                with sqlite_till.refused("this key is taken"):
                    sqlite_till.insert(part, **{**row, column.name: value})
