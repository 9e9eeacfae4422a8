"""What a till wrote stays as it was written: each guard, broken once by raw SQL on each engine."""
# ruff: noqa: S608 - the names in the SQL come from the schema

import re

import pytest

from stores.channeldb.schema.tables import EVENT_TABLES, PART_TABLES, TABLE_BY_NAME
from tests.support.channels import TIME, event, full_row, guid, value_of

EVENTS = [table.name for table in EVENT_TABLES]
PARTS = [table.name for table in PART_TABLES]


@pytest.fixture(params=EVENTS)
def table(request):
    return request.param


@pytest.fixture(params=PARTS)
def part(request):
    return request.param


def acknowledge(till, table):
    till.sql(f"UPDATE {table} SET acknowledged_at = %s", TIME)


def count(till, table):
    return till.value(f"SELECT count(*) FROM {table}")


def document(till, part):
    """A transaction of one line or payment; gives the row of that part."""
    header = full_row("retail_transaction", transaction_id="T-1")
    till.insert("retail_transaction", **header)
    row = full_row(part, transaction_id="T-1", line_number=1)
    till.insert(part, **row)
    return row


# ------------------------------------------------------------------- events


def test_event_cannot_start_acknowledged(till, table):
    with till.refused("starts unacknowledged"):
        till.insert(table, **full_row(table), acknowledged_at=TIME)


def test_event_can_be_acknowledged_and_that_be_taken_back(till, table):
    till.insert(table, **full_row(table))

    acknowledge(till, table)
    till.sql(f"UPDATE {table} SET acknowledged_at = NULL")

    assert till.value(f"SELECT acknowledged_at FROM {table}") is None


def test_no_other_column_of_an_event_can_change(till, table):
    till.insert(table, **full_row(table))
    kept = [column for column in TABLE_BY_NAME[table].columns if column.name != "acknowledged_at"]

    for column in kept:
        value = 99 if column.kind == "counter" else value_of(column, other=True)
        with till.refused("an event never changes|can only be updated to DEFAULT"):
            till.sql(f"UPDATE {table} SET {column.name} = %s", value)


def test_nothing_in_an_event_can_be_emptied(till, table):
    till.insert(table, **full_row(table))
    kept = [
        c
        for c in TABLE_BY_NAME[table].columns
        if c.kind != "counter" and c.name != "acknowledged_at"
    ]

    for column in kept:
        with till.refused("an event never changes"):
            till.sql(f"UPDATE {table} SET {column.name} = NULL")


def test_acknowledging_cannot_hide_a_change(till, table):
    till.insert(table, **full_row(table))

    with till.refused("an event never changes"):
        till.sql(f"UPDATE {table} SET acknowledged_at = %s, staff_id = 'x'", TIME)


def test_acknowledged_event_cannot_change_either(till, table):
    till.insert(table, **full_row(table))
    acknowledge(till, table)

    with till.refused("an event never changes"):
        till.sql(f"UPDATE {table} SET staff_id = 'x'")


def test_event_goes_only_after_it_was_acknowledged(till, table):
    till.insert(table, **full_row(table))

    with till.refused("not yet acknowledged"):
        till.sql(f"DELETE FROM {table}")
    acknowledge(till, table)
    till.sql(f"DELETE FROM {table}")

    assert count(till, table) == 0


def test_counter_is_not_used_twice_after_a_deletion(till, table):
    till.insert(table, **full_row(table))
    used = till.value(f"SELECT replication_counter FROM {table}")
    acknowledge(till, table)
    till.sql(f"DELETE FROM {table}")

    till.insert(table, **full_row(table))

    assert till.value(f"SELECT replication_counter FROM {table}") == used + 1


def test_other_event_under_a_used_id_is_refused(till, table):
    row = full_row(table)
    till.insert(table, **row)

    with till.refused("this key is taken|duplicate key"):
        till.insert(table, **{**row, "staff_id": "x"})


def test_other_event_under_a_used_transaction_id_is_refused(till):
    row = full_row("retail_transaction")
    till.insert("retail_transaction", **row)

    with till.refused("this key is taken|duplicate key"):
        till.insert("retail_transaction", **{**row, "event_id": guid()})


# --------------------------------------------------------- events, PostgreSQL


def test_event_table_is_never_truncated(postgresql_till, table):
    with postgresql_till.refused("never emptied"):
        postgresql_till.sql(f"TRUNCATE {table} CASCADE")


def test_counter_cannot_be_given_or_renewed(postgresql_till, table):
    row = full_row(table)
    with postgresql_till.refused("cannot insert a non-DEFAULT value"):
        postgresql_till.insert(table, **row, replication_counter=5)
    postgresql_till.insert(table, **row)

    with postgresql_till.refused("an event never changes"):
        postgresql_till.sql(f"UPDATE {table} SET replication_counter = DEFAULT")


def test_repeat_with_on_conflict_has_no_effect(postgresql_till, table):
    row = full_row(table)
    postgresql_till.insert(table, **row)
    acknowledge(postgresql_till, table)

    postgresql_till.insert(table, **row, ending="ON CONFLICT (event_id) DO NOTHING")

    assert count(postgresql_till, table) == 1


def test_upsert_cannot_change_an_event(postgresql_till, table):
    row = full_row(table)
    postgresql_till.insert(table, **row)

    with postgresql_till.refused("an event never changes"):
        postgresql_till.insert(
            table, **row, ending="ON CONFLICT (event_id) DO UPDATE SET staff_id = 'x'"
        )


def test_merge_cannot_change_an_event(postgresql_till, table):
    postgresql_till.insert(table, **full_row(table))

    with postgresql_till.refused("an event never changes"):
        postgresql_till.sql(
            f"MERGE INTO {table} e USING (SELECT 1) one ON true"
            " WHEN MATCHED THEN UPDATE SET staff_id = 'x'"
        )


def test_ordinary_writes_call_no_function(postgresql_till, table):
    triggers = postgresql_till.sql(
        "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = %s::regclass", table
    )

    assert len(triggers) == 4
    for [definition] in triggers:
        assert " WHEN " in definition or "TRUNCATE" in definition


def test_guards_are_enabled_on_postgresql(postgresql_till):
    disabled = postgresql_till.sql(
        "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled <> 'O'"
    )

    assert disabled == []


def test_postgresql_guard_compares_every_column(postgresql_till, table):
    [definition] = postgresql_till.sql(
        "SELECT pg_get_triggerdef(oid) FROM pg_trigger"
        " WHERE tgrelid = %s::regclass AND tgname = 'guard_update'",
        table,
    )
    columns = postgresql_till.sql(
        "SELECT column_name FROM information_schema.columns WHERE table_name = %s", table
    )

    for version in ("old", "new"):
        compared = re.findall(rf"\b{version}\.(\w+)", definition[0])
        assert {*compared, "acknowledged_at"} == {name for [name] in columns}


# ------------------------------------------------------------- events, SQLite


def test_sqlite_guards_compare_every_column(sqlite_till, table):
    columns = {row[1] for row in sqlite_till.sql(f"PRAGMA table_info({table})")}
    source = "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = %s"

    update = sqlite_till.value(source, f"{table}_guard_update")
    insert = sqlite_till.value(source, f"{table}_guard_insert")

    assert {*re.findall(r"NEW\.(\w+) IS NOT", update)} == columns - {"acknowledged_at"}
    same = re.findall(r"p\.(\w+) (?:=|IS) NEW", insert.split("RAISE(IGNORE)")[0])
    assert {*same} == columns - {"acknowledged_at", "replication_counter"}


@pytest.mark.parametrize("verb", ["INSERT", "INSERT OR IGNORE", "INSERT OR REPLACE", "REPLACE"])
def test_repeat_of_an_event_is_passed_over(sqlite_till, table, verb):
    row = full_row(table)
    sqlite_till.insert(table, **row)
    acknowledge(sqlite_till, table)

    sqlite_till.insert(table, verb, **row)

    assert sqlite_till.sql(f"SELECT acknowledged_at FROM {table}") == [(TIME,)]


def test_repeat_within_many_rows_lets_the_others_through(sqlite_till):
    first, second = event(), event()
    sqlite_till.insert("async_customer", **first)

    sqlite_till.sql(
        "INSERT INTO async_customer (event_id, occurred_at, operation)"
        " VALUES (%s, %s, %s), (%s, %s, %s)",
        *first.values(),
        *second.values(),
    )

    assert count(sqlite_till, "async_customer") == 2


@pytest.mark.parametrize("verb", ["INSERT OR REPLACE", "INSERT OR IGNORE", "REPLACE"])
def test_no_clause_gets_another_event_past_a_used_id(sqlite_till, table, verb):
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
def test_row_number_of_an_event_cannot_change(sqlite_till, table, name):
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
def test_counter_below_one_is_refused(sqlite_till, table, number):
    with sqlite_till.refused("leave out replication_counter"):
        sqlite_till.insert(table, **full_row(table), replication_counter=number)


def test_text_turned_into_bytes_is_a_change(sqlite_till):
    sqlite_till.insert("async_customer", **event(first_name="Ann"))

    with sqlite_till.refused("an event never changes"):
        sqlite_till.sql("UPDATE async_customer SET first_name = CAST('Ann' AS BLOB)")


def test_letters_of_another_case_are_a_change(sqlite_till):
    sqlite_till.insert("async_customer", **event(first_name="Ann"))

    with sqlite_till.refused("an event never changes"):
        sqlite_till.sql("UPDATE async_customer SET first_name = 'ann'")


def test_upsert_on_sqlite_cannot_change_an_event(sqlite_till):
    row = event()
    sqlite_till.insert("async_customer", **row)

    sqlite_till.insert(
        "async_customer", **row, ending="ON CONFLICT (event_id) DO UPDATE SET staff_id = 'x'"
    )

    assert sqlite_till.value("SELECT staff_id FROM async_customer") is None


# -------------------------------------------------------- lines and payments


def test_line_never_changes(till, part):
    document(till, part)

    for column in TABLE_BY_NAME[part].columns:
        with till.refused("an event never changes"):
            till.sql(f"UPDATE {part} SET {column.name} = %s", value_of(column, other=True))
    acknowledge(till, "retail_transaction")
    with till.refused("an event never changes"):
        till.sql(f"UPDATE {part} SET line_number = 2")


def test_line_is_added_until_its_header_is_acknowledged(till, part):
    row = document(till, part)
    till.insert(part, **{**row, "line_number": 2})
    acknowledge(till, "retail_transaction")

    with till.refused("its document is acknowledged"):
        till.insert(part, **{**row, "line_number": 3})
    assert count(till, part) == 2


def test_line_may_come_before_its_header(till, part):
    till.insert(part, **full_row(part, transaction_id="T-9"))

    till.insert("retail_transaction", **full_row("retail_transaction", transaction_id="T-9"))

    assert count(till, part) == 1


def test_line_goes_only_after_its_header_is_acknowledged(till, part):
    document(till, part)

    with till.refused("not yet acknowledged"):
        till.sql(f"DELETE FROM {part}")
    acknowledge(till, "retail_transaction")
    till.sql(f"DELETE FROM {part}")

    assert count(till, part) == 0


def test_line_without_header_stays(till, part):
    till.insert(part, **full_row(part, transaction_id="T-9"))

    with till.refused("not yet acknowledged"):
        till.sql(f"DELETE FROM {part}")


def test_other_line_under_a_used_number_is_refused(till, part):
    row = document(till, part)
    changed = "amount" if "amount" in row else "quantity"

    with till.refused("this key is taken|duplicate key"):
        till.insert(part, **{**row, changed: "99.0000"})


def test_repeat_of_a_document_has_no_effect(till, part):
    row = document(till, part)
    acknowledge(till, "retail_transaction")
    ending = "ON CONFLICT DO NOTHING" if till.vendor == "postgresql" else ""

    till.insert(part, **row, ending=ending)

    assert count(till, part) == 1


def test_table_of_lines_is_never_truncated(postgresql_till, part):
    with postgresql_till.refused("never emptied"):
        postgresql_till.sql(f"TRUNCATE {part}")


def test_many_lines_at_once_are_refused_as_one(postgresql_till, part):
    document(postgresql_till, part)
    acknowledge(postgresql_till, "retail_transaction")

    with postgresql_till.refused("its document is acknowledged"):
        postgresql_till.sql(
            f"INSERT INTO {part} (transaction_id, line_number)"
            " SELECT 'T-' || i, 7 FROM generate_series(1, 50) i"
        )
    assert count(postgresql_till, part) == 1


@pytest.mark.parametrize("verb", ["INSERT OR REPLACE", "INSERT OR IGNORE", "REPLACE"])
def test_no_clause_gets_another_line_past_a_used_number(sqlite_till, part, verb):
    row = document(sqlite_till, part)
    changed = "amount" if "amount" in row else "quantity"

    with sqlite_till.refused("this key is taken"):
        sqlite_till.insert(part, verb, **{**row, changed: "99.0000"})


def test_line_has_no_row_number_to_be_replaced_by(sqlite_till, part):
    with sqlite_till.refused("no such column"):
        sqlite_till.sql(f"SELECT rowid FROM {part}")


def test_sqlite_guards_of_lines_compare_every_column(sqlite_till, part):
    columns = {row[1] for row in sqlite_till.sql(f"PRAGMA table_info({part})")}
    insert = sqlite_till.value(
        "SELECT sql FROM sqlite_master WHERE type = 'trigger' AND name = %s", f"{part}_guard_insert"
    )

    same = re.findall(r"p\.(\w+) (?:=|IS) NEW", insert.split("RAISE(IGNORE)")[0])
    assert {*same} == columns


def test_refusal_quotes_no_value_of_the_row(till):
    till.insert("async_customer", **event(first_name="Ann", email="ann@example.com"))

    with till.refused("never changes") as refusal:
        till.sql("UPDATE async_customer SET email = 'bo@example.com'")

    assert "example.com" not in str(refusal.value)
