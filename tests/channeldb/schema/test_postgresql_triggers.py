"""Triggers of PostgreSQL refuse every statement that would change an event.

From conftest.py: `postgresql_till` writes into a channel on PostgreSQL.
"""
# ruff: noqa: S608 - the names in the SQL come from the schema

from tests.support.channels import full_row


def test_a_table_of_events_is_never_truncated(postgresql_till, table):
    with postgresql_till.refused("never emptied"):
        postgresql_till.sql(f"TRUNCATE {table} CASCADE")


def test_a_counter_cannot_be_set(postgresql_till, table):
    row = full_row(table)
    with postgresql_till.refused("cannot insert a non-DEFAULT value"):
        postgresql_till.insert(table, **row, replication_counter=5)
    postgresql_till.insert(table, **row)

    with postgresql_till.refused("an event never changes"):
        postgresql_till.sql(f"UPDATE {table} SET replication_counter = DEFAULT")


def test_a_repeat_with_on_conflict_has_no_effect(postgresql_till, table):
    row = full_row(table)
    postgresql_till.insert(table, **row)
    postgresql_till.acknowledge(table)

    postgresql_till.insert(table, **row, ending="ON CONFLICT (event_id) DO NOTHING")

    assert postgresql_till.count(table) == 1


def test_an_upsert_cannot_change_an_event(postgresql_till, table):
    row = full_row(table)
    postgresql_till.insert(table, **row)

    with postgresql_till.refused("an event never changes"):
        postgresql_till.insert(
            table, **row, ending="ON CONFLICT (event_id) DO UPDATE SET staff_id = 'x'"
        )


def test_a_merge_cannot_change_an_event(postgresql_till, table):
    postgresql_till.insert(table, **full_row(table))

    with postgresql_till.refused("an event never changes"):
        postgresql_till.sql(
            f"MERGE INTO {table} AS event USING (SELECT 1) AS source ON true"
            " WHEN MATCHED THEN UPDATE SET staff_id = 'x'"
        )


def test_an_ordinary_write_calls_no_function(postgresql_till, table):
    triggers = postgresql_till.sql(
        "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = %s::regclass", table
    )

    # One each for inserts, updates, deletes and truncation.
    assert len(triggers) == 4
    for [definition] in triggers:
        assert " WHEN " in definition or "TRUNCATE" in definition


def test_the_triggers_are_enabled(postgresql_till):
    enabled = postgresql_till.sql("SELECT tgenabled FROM pg_trigger WHERE NOT tgisinternal")

    # O: they fire unless a session restores rows as a replica.
    assert set(enabled) == {("O",)}
