"""Conflicts: edits whose makers did not know of each other.

Merging has decided already which edit wins: the later one. Once for each chunk of edits, this
module records what was lost by that, so that people can see both values. New customers have no
conflicts, because nobody else can have edited them yet.
"""

from datetime import timedelta

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import equal, listed, run_sql
from stores.hqdb.work_table import WorkTable
from stores.pipeline.convert.merge import normalized_column
from stores.pipeline.events.kinds import ADDRESS, CONTACT, CUSTOMER, INHERITED_COLUMNS, EventKind

RECORD_CONFLICTS = load(__file__, "record_conflicts")
# If a clock is wrong by more, a person decides about the conflict.
CLOCK_TOLERANCE = timedelta(minutes=15)
# Kinds whose entities are new when a till creates them, so that nobody else can have edited them.
KINDS_WITH_CREATION = (CUSTOMER, ADDRESS, CONTACT)
# An affiliation has no field but its name, and removals are a matter of removals.py.
NO_FIELDS = sql.SQL("('', false, '', '', '')")


def record_conflicts(kind: EventKind, claimed: WorkTable, history: WorkTable) -> int:
    """Record what the claimed edits conflict with, each field with both values. Returns fields.

    A conflict stays open for a person if a clock was wrong by more than CLOCK_TOLERANCE, because
    the edit that counts as the later one may be the earlier one. Effects: edit_conflict, in the
    caller's transaction.
    """
    return run_sql(record_statement(kind, claimed, history), {"tolerance": CLOCK_TOLERANCE})


def record_statement(kind: EventKind, claimed: WorkTable, history: WorkTable) -> sql.Composed:
    fields = [column for column in kind.columns if column not in kind.key]
    columns = (
        sql.SQL("{} AS {}").format(column_text(kind, column), sql.Identifier(column))
        for column in kind.columns
    )
    return RECORD_CONFLICTS.format(
        history=history,
        claimed=claimed,
        creation_counts=sql.Literal(kind not in KINDS_WITH_CREATION),
        is_about_row=is_about_row(kind),
        same_entity=equal(kind.entity, "edit", "lost"),
        columns=listed(columns),
        fields=listed(map(field_values, fields)) if fields else NO_FIELDS,
        **conflict_names(kind, "lost"),
    )


def conflict_names(kind: EventKind, edit: str) -> dict[str, sql.Composable]:
    """Return the names of the kind; {key_text} is which of its customer's rows `edit` means."""
    key = sql.SQL("{}::text").format(sql.Identifier(edit, kind.key[0])) if kind.key else None
    return {**kind.names, "key_text": key or sql.SQL("''")}


def field_values(column: str) -> sql.Composable:
    """Return one row of {fields} in record_conflicts.sql."""
    is_stated = "lost.is_active AND kept.is_active"
    if column in INHERITED_COLUMNS:
        is_stated += " AND '' NOT IN (lost.{0}, kept.{0})"
    return sql.SQL("({1}, " + is_stated + ", lost.{0}, kept.{0}, before.{0})").format(
        sql.Identifier(column), sql.Literal(column)
    )


def column_text(kind: EventKind, column: str) -> sql.Composable:
    """Return a column of `event` as HQ keeps it, as a text; nothing is an empty text."""
    empty = "false" if kind.type_of(column) == "boolean" else ""
    value = sql.SQL("coalesce(({})::text, {})")
    return value.format(normalized_column(kind, column), sql.Literal(empty))


def is_about_row(kind: EventKind) -> sql.Composed:
    """Return the condition that `event` is about `row`."""
    owner = sql.SQL("event.customer_id = {}").format(sql.Identifier("row", kind.owner))
    # As texts, because rows are to be looked up by their customer and not by their id.
    same_key = sql.SQL("{}::text = {}::text")
    keys = (
        same_key.format(normalized_column(kind, column), sql.Identifier("row", column))
        for column in kind.key
    )
    return sql.SQL(" AND ").join([owner, *keys])
