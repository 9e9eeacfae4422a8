"""Edits whose makers did not know of each other: recorded with both values, whoever wins.

The winner is what `merge` says: the later edit stays. This only looks, once for each chunk of
edits, what the claimed customers show now and which other place had said otherwise, unseen. New
customers are not looked at: nobody else can have edited them.
"""

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import listed, run_sql
from stores.hqdb.work_table import WorkTable
from stores.pipeline.convert.merge import normalized_column
from stores.pipeline.events.kinds import ADDRESS, CONTACT, CUSTOMER, INHERITED_COLUMNS, EventKind
from stores.pipeline.events.kinds import normalized as normalized_text

RECORD_CONFLICTS = load(__file__, "record_conflicts")
EDIT_COLUMNS = load(__file__, "_edit_columns")
# A till that makes an entity known cannot have overlooked another's edit of it.
KINDS_WITH_CREATION = (CUSTOMER, ADDRESS, CONTACT)
# An affiliation says nothing but that it is there, and removals are no contest: see removals.
NO_VALUES = sql.SQL("('', false, '', '', '')")


def record_conflicts(kind: EventKind, claimed: WorkTable, history: WorkTable) -> int:
    """Record what the claimed edits conflict with, each field with both values. Returns fields.

    Open are those where a clock was more than 15 minutes wrong: the later edit may not be the later
    one. The others are closed by the rule. Effects: edit_conflict, in the caller's transaction.
    """
    return run_sql(record_statement(kind, claimed, history))


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
        same_key=same_key(kind, "lost", "row"),
        same_key_as_lost=same_key(kind, "event", "lost"),
        edit_columns=EDIT_COLUMNS.format(history=history, columns=listed(columns)),
        values=listed(map(field_values, fields)) if fields else NO_VALUES,
        **conflict_names(kind, "lost"),
    )


def conflict_names(kind: EventKind, edit: str) -> dict[str, sql.Composable]:
    """The names of the kind; {key_text} names the row of `edit` among its customer's."""
    key = sql.SQL("{}::text").format(sql.Identifier(edit, kind.key[0])) if kind.key else None
    return {**kind.names, "key_text": key or sql.SQL("''")}


def field_values(column: str) -> sql.Composable:
    """Whether both edits state a field, and its values in the lost, kept and earlier event."""
    is_stated = "lost.is_active AND kept.is_active"
    if column in INHERITED_COLUMNS:
        is_stated += " AND '' NOT IN (lost.{0}, kept.{0})"
    return sql.SQL("({1}, " + is_stated + ", lost.{0}, kept.{0}, before.{0})").format(
        sql.Identifier(column), sql.Literal(column)
    )


def column_text(kind: EventKind, column: str) -> sql.Composable:
    """The value of a column of `event` as HQ keeps it, as a text."""
    empty = "false" if kind.type_of(column) == "boolean" else ""
    value = sql.SQL("coalesce(({})::text, {})")
    return value.format(normalized_column(kind, column), sql.Literal(empty))


def same_key(kind: EventKind, event: str, other: str) -> sql.Composable:
    """That an event and a row are about the same of the customer's addresses, contacts, …"""
    conditions = (
        f"{normalized_text(column, event)} = {other}.{column}"
        if kind.type_of(column) == "text"
        else f"{event}.{column}::text = {other}.{column}::text"
        for column in kind.key
    )
    return sql.SQL(" AND ".join(conditions) or "true")
