"""The triggers that keep what a till wrote, whoever writes to the database.

A till adds an event unacknowledged. HQ acknowledges it, or takes that back. Once acknowledged, it
may be deleted. Everything else is refused. Lines and payments never change: they come before their
header is acknowledged and may go after. The columns come from `schema.tables`, as the tables do.

In the database, the triggers are called guards: guard_insert on PostgreSQL, and on SQLite, where
the tables share the names of triggers, async_customer_guard_insert.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from stores.channeldb.schema.tables import EVENT_TABLES, PART_TABLES, Table

# What a refused writer reads: the same words on both engines, and no value of the row in them.
STARTS_UNACKNOWLEDGED = "an event starts unacknowledged"
NEVER_CHANGES = "an event never changes, write a new one"
NOT_YET_ACKNOWLEDGED = "not yet acknowledged by HQ, so it stays"
NEVER_EMPTIED = "an event table is never emptied"
KEY_REUSED = "this key is taken by another row"
DOCUMENT_CLOSED = "its document is acknowledged, nothing can be added"
COUNTER_GIVEN = "leave out replication_counter, it counts by itself"


def immutable_columns(table: Table) -> list[str]:
    return [name for name in table.column_names if name != "acknowledged_at"]


# ---------------------------------------------------------------- PostgreSQL
# Conditions stand in WHEN: an ordinary INSERT or acknowledgement calls no function at all.

# The names of the two functions below.
POSTGRESQL_FUNCTIONS = ("event_guard", "document_guard")
POSTGRESQL_EVENT_FUNCTION = """\
CREATE FUNCTION public.event_guard() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog AS $$
BEGIN
    RAISE EXCEPTION '%: %', TG_TABLE_NAME, TG_ARGV[0]
        USING ERRCODE = 'integrity_constraint_violation';
END $$"""
# Asked once per statement, of the rows that were really added: a till that repeats a document with
# ON CONFLICT DO NOTHING adds none, and a COPY of many lines asks once. The settings hold the plan
# to look-ups by key; one kept from a large COPY would read every header for a single line.
POSTGRESQL_DOCUMENT_FUNCTION = """\
CREATE FUNCTION public.document_guard() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    refused boolean;
BEGIN
    IF TG_OP = 'INSERT' THEN
        refused := EXISTS (
            SELECT 1 FROM touched p JOIN public.retail_transaction t USING (transaction_id)
             WHERE t.acknowledged_at IS NOT NULL);
    ELSE
        refused := EXISTS (
            SELECT 1 FROM touched p LEFT JOIN public.retail_transaction t USING (transaction_id)
             WHERE t.acknowledged_at IS NULL);
    END IF;
    IF refused THEN
        RAISE EXCEPTION '%: %', TG_TABLE_NAME, TG_ARGV[0]
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NULL;
END $$"""
POSTGRESQL_TRIGGER = (
    "CREATE TRIGGER guard_{name} BEFORE {action} ON public.{table}"
    " FOR EACH {scope}{when} EXECUTE FUNCTION public.event_guard('{message}')"
)
POSTGRESQL_DOCUMENT_TRIGGER = (
    "CREATE TRIGGER guard_{name} AFTER {action} ON public.{table}"
    " REFERENCING {version} TABLE AS touched"
    " FOR EACH STATEMENT EXECUTE FUNCTION public.document_guard('{message}')"
)


def postgresql_triggers(lacking: frozenset[str]) -> Iterator[str]:
    yield POSTGRESQL_EVENT_FUNCTION
    yield POSTGRESQL_DOCUMENT_FUNCTION
    for table in EVENT_TABLES:
        yield from postgresql_event_triggers(table.without(lacking))
    for table in PART_TABLES:
        yield from postgresql_part_triggers(table)


def postgresql_event_triggers(table: Table) -> Iterator[str]:
    is_acknowledged = "NEW.acknowledged_at IS NOT NULL"
    was_unacknowledged = "OLD.acknowledged_at IS NULL"
    # Compares bytes: 1.0 and 1.00 differ, and so do two spellings of one letter. Its operator *<>
    # would not do: pg_dump prints it without the casts, so a restored database lacks the trigger.
    is_changed = f"pg_catalog.record_image_ne({row_of('OLD', table)}, {row_of('NEW', table)})"
    yield postgresql_trigger(table, "INSERT", STARTS_UNACKNOWLEDGED, when=is_acknowledged)
    yield postgresql_trigger(table, "UPDATE", NEVER_CHANGES, when=is_changed)
    yield postgresql_trigger(table, "DELETE", NOT_YET_ACKNOWLEDGED, when=was_unacknowledged)
    yield postgresql_trigger(table, "TRUNCATE", NEVER_EMPTIED)


def row_of(version: str, table: Table) -> str:
    """The immutable columns of OLD or NEW as one record."""
    columns = ", ".join(f"{version}.{name}" for name in immutable_columns(table))
    return f"ROW({columns})"


def postgresql_part_triggers(table: Table) -> Iterator[str]:
    yield postgresql_trigger(table, "UPDATE", NEVER_CHANGES)
    yield postgresql_trigger(table, "TRUNCATE", NEVER_EMPTIED)
    yield POSTGRESQL_DOCUMENT_TRIGGER.format(
        name="insert", action="INSERT", table=table.name, version="NEW", message=DOCUMENT_CLOSED
    )
    yield POSTGRESQL_DOCUMENT_TRIGGER.format(
        name="delete",
        action="DELETE",
        table=table.name,
        version="OLD",
        message=NOT_YET_ACKNOWLEDGED,
    )


def postgresql_trigger(table: Table, action: str, message: str, *, when: str = "") -> str:
    """A trigger that refuses an action; with a condition `when`, only for rows that fulfil it."""
    return POSTGRESQL_TRIGGER.format(
        name=action.lower(),
        action=action,
        table=table.name,
        scope="STATEMENT" if action == "TRUNCATE" else "ROW",
        when=f" WHEN ({when})" if when else "",
        message=message,
    )


# -------------------------------------------------------------------- SQLite
# Why the triggers have this form:
# - INSERT OR REPLACE removes the row in its way without firing the delete trigger. So each unique
#   key is looked up before an insert.
# - UPDATE … SET rowid does not fire a trigger for UPDATE OF column. So all columns are compared.
# - The order of several triggers for one action is undefined. So each action has one.

SQLITE_TRIGGER = """\
CREATE TRIGGER {table}_guard_{name} BEFORE {action} ON {table}
BEGIN
    SELECT CASE
        {cases}
    END;
END"""
# Before an insert, SQLite shows a counter that was left out as -1. If -1 were stored, every further
# event would look like a repeat of that one.
SQLITE_COUNTER_TRIGGER = """\
CREATE TRIGGER {table}_guard_counter AFTER INSERT ON {table} WHEN NEW.replication_counter < 1
BEGIN
    SELECT RAISE(ABORT, '{table}: {message}');
END"""
SQLITE_ROW_EXISTS = "EXISTS (SELECT 1 FROM {table} p WHERE {condition})"
SQLITE_HEADER_ACKNOWLEDGED = (
    "EXISTS (SELECT 1 FROM retail_transaction t WHERE t.transaction_id = {row}.transaction_id"
    " AND t.acknowledged_at IS NOT NULL)"
)


class TriggerCase(NamedTuple):
    """A condition under which a trigger acts, and the action, both in SQL."""

    condition: str
    action: str


def sqlite_triggers(lacking: frozenset[str]) -> Iterator[str]:
    for table in EVENT_TABLES:
        yield from sqlite_event_triggers(table.without(lacking))
        yield SQLITE_COUNTER_TRIGGER.format(table=table.name, message=COUNTER_GIVEN)
    for table in PART_TABLES:
        yield from sqlite_part_triggers(table)


def sqlite_event_triggers(table: Table) -> Iterator[str]:
    """Triggers of one event table. Inserting the same event again does nothing."""
    columns = [name for name in immutable_columns(table) if name != "replication_counter"]
    keys = [(key,) for key in ("event_id", "replication_counter", *table.unique)]
    yield sqlite_trigger(
        table,
        "INSERT",
        abort_when(table, "NEW.acknowledged_at IS NOT NULL", STARTS_UNACKNOWLEDGED),
        ignore_when(row_exists(table, ("event_id",), columns)),
        *(abort_when(table, row_exists(table, key), KEY_REUSED) for key in keys),
    )
    is_changed = " OR ".join(f"NEW.{name} IS NOT OLD.{name}" for name in immutable_columns(table))
    yield sqlite_trigger(table, "UPDATE", abort_when(table, is_changed, NEVER_CHANGES))
    was_unacknowledged = "OLD.acknowledged_at IS NULL"
    yield sqlite_trigger(
        table, "DELETE", abort_when(table, was_unacknowledged, NOT_YET_ACKNOWLEDGED)
    )


def sqlite_part_triggers(table: Table) -> Iterator[str]:
    """Triggers of one table of lines or payments. Inserting the same row again does nothing."""
    is_closed = SQLITE_HEADER_ACKNOWLEDGED.format(row="NEW")
    yield sqlite_trigger(
        table,
        "INSERT",
        ignore_when(row_exists(table, table.key, table.column_names)),
        abort_when(table, row_exists(table, table.key), KEY_REUSED),
        abort_when(table, is_closed, DOCUMENT_CLOSED),
    )
    yield sqlite_trigger(table, "UPDATE", abort_when(table, "1", NEVER_CHANGES))
    is_open = f"NOT {SQLITE_HEADER_ACKNOWLEDGED.format(row='OLD')}"
    yield sqlite_trigger(table, "DELETE", abort_when(table, is_open, NOT_YET_ACKNOWLEDGED))


def sqlite_trigger(table: Table, action: str, *cases: TriggerCase) -> str:
    """A trigger before an action. The first case whose condition is true decides."""
    lines = "\n        ".join(f"WHEN {case.condition} THEN {case.action}" for case in cases)
    return SQLITE_TRIGGER.format(table=table.name, name=action.lower(), action=action, cases=lines)


def abort_when(table: Table, condition: str, message: str) -> TriggerCase:
    """The statement fails and changes nothing, whatever its own OR clause says."""
    return TriggerCase(condition, f"RAISE(ABORT, '{table.name}: {message}')")


def ignore_when(condition: str) -> TriggerCase:
    """The row is left as it is and the statement goes on."""
    return TriggerCase(condition, "RAISE(IGNORE)")


def row_exists(table: Table, key: Sequence[str], equal_columns: Sequence[str] = ()) -> str:
    """Condition: a row with the new row's key is stored, which is also equal in these columns."""
    conditions = [f"p.{name} = NEW.{name}" for name in key]
    conditions += [f"p.{name} IS NEW.{name}" for name in equal_columns if name not in key]
    return SQLITE_ROW_EXISTS.format(table=table.name, condition=" AND ".join(conditions))
