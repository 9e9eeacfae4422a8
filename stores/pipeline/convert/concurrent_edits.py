"""Concurrent edits: those whose makers did not know of each other.

Merging writes an entity as its newest event says. That is right if the maker of the newest event
knew of all others and showed them, which is the usual case. Of other customers, the rows of the
kind are written anew here, field by field, as merged_fields.py says.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import fetch, identifiers, listed, run_sql
from stores.hqdb.work_table import WorkTable, query_table
from stores.pipeline.convert.conflicts import record_conflicts
from stores.pipeline.convert.merge import entity_of_event, normalized_column, normalized_columns
from stores.pipeline.convert.merged_fields import (
    KINDS_WITH_CREATION,
    Edit,
    MergedCustomer,
    fields_of,
)
from stores.pipeline.events.kinds import CUSTOMER, INHERITED_COLUMNS, EventKind

SEVERAL_EDITS = load(__file__, "several_edits")
CONCURRENT_CUSTOMERS = load(__file__, "concurrent_customers")
STATED_EDITS = load(__file__, "stated_edits")
WRITE_MERGED = load(__file__, "write_merged")


def settle_concurrent_edits(kind: EventKind, history: WorkTable) -> None:
    """Merge concurrent edits of some customers field by field, and record their conflicts.

    `history` are all events that were applied to the customers, whose rows show the newest ones.
    Effects: HQ's table of the kind, settled events and edit_conflict, in the caller's transaction.
    """
    if not fields_of(kind):
        return
    with query_table("edited_customer", several_query(kind, history)) as several:
        if several.rows:
            settle_several(kind, several, history)


def settle_several(kind: EventKind, several: WorkTable, history: WorkTable) -> None:
    """Do so for customers that have several edits, some of which may be concurrent."""
    with query_table("chosen", concurrent_query(kind, several, history)) as chosen:
        if chosen.rows:
            merged = merged_customers(kind, chosen, history)
            write_merged(kind, merged_rows(kind, merged, active_keys(kind, chosen)))
            settle_shown(kind, merged)
            found = (conflict for customer in merged for conflict in customer.conflicts())
            record_conflicts(kind, found, history)


def several_query(kind: EventKind, history: WorkTable) -> sql.Composed:
    return SEVERAL_EDITS.format(
        history=history,
        entity_of_event=entity_of_event(kind),
        can_be_forgotten=can_be_forgotten(kind),
    )


def concurrent_query(kind: EventKind, several: WorkTable, history: WorkTable) -> sql.Composed:
    keys = [normalized_columns(kind, kind.key)] if kind.key else []
    return CONCURRENT_CUSTOMERS.format(
        several=several,
        history=history,
        entity=identifiers(kind.entity),
        entity_of_event=entity_of_event(kind),
        columns_of_event=listed([sql.Identifier("event", "customer_id"), *keys]),
        can_be_forgotten=can_be_forgotten(kind),
    )


def can_be_forgotten(kind: EventKind) -> sql.SQL:
    """Return the condition that `event` is not a creation, which every version says."""
    return sql.SQL("event.operation <> 'create'" if kind in KINDS_WITH_CREATION else "true")


def merged_customers(
    kind: EventKind, chosen: WorkTable, history: WorkTable
) -> list[MergedCustomer]:
    """Merge the edits of the chosen customers."""
    edits = read_edits(kind, chosen, history)
    by_customer = groupby(edits, key=attrgetter("customer"))
    return [MergedCustomer(kind, customer, list(own)) for customer, own in by_customer]


def read_edits(kind: EventKind, chosen: WorkTable, history: WorkTable) -> Iterator[Edit]:
    """Yield all edits of the chosen customers, customer by customer, in the order of events."""
    rows = fetch(stated_query(kind, chosen, history))
    for position, row in enumerate(rows):
        customer, key, event, database, generation, register, *values, stated, defaults = row
        counter, is_creation, applied_at, is_new, seen_until = values
        inherited = json.loads(defaults) if defaults else {}
        yield Edit(
            position,
            customer,
            key,
            event,
            (database, generation, register),
            counter,
            is_creation,
            applied_at,
            is_new,
            seen_until,
            json.loads(stated),
            inherited if kind is CUSTOMER else {},
        )


def stated_query(kind: EventKind, chosen: WorkTable, history: WorkTable) -> sql.Composed:
    stated = [(column, normalized_column(kind, column)) for column in fields_of(kind)]
    defaults = [(column, default_value(column)) for column in INHERITED_COLUMNS]
    return STATED_EDITS.format(
        chosen=chosen,
        history=history,
        entity_of_event=entity_of_event(kind),
        key_text=key_text(kind),
        stated=names_and_values(stated),
        defaults=names_and_values(defaults),
    )


def default_value(column: str) -> sql.Composable:
    """Return what a new customer inherits in a column: see create_customers.sql."""
    form = "coalesce(home.{}, 'person')" if column == "customer_type" else "home.{}"
    return sql.SQL(form).format(sql.Identifier(column))


def key_text(kind: EventKind) -> sql.Composable:
    """Return which of its customer's rows `event` is about, as a text."""
    if not kind.key:
        return sql.SQL("''")
    return sql.SQL("({})::text").format(normalized_column(kind, kind.key[0]))


def names_and_values(pairs: Iterable[tuple[str, sql.Composable]]) -> sql.Composed:
    """Return the arguments of jsonb_build_object()."""
    return listed(sql.SQL("{}, {}").format(sql.Literal(name), value) for name, value in pairs)


def active_keys(kind: EventKind, chosen: WorkTable) -> set[tuple[int, str]]:
    """Return customer and key of those rows that may be primary."""
    if not kind.primary:
        return set()
    rows = fetch(
        """SELECT row.customer_id, row.{key}::text FROM {table} row
            WHERE row.customer_id IN (SELECT customer_id FROM {chosen}) AND row.is_active""",
        chosen=chosen,
        **kind.names,
    )
    return {(customer, key) for customer, key in rows}


def merged_rows(
    kind: EventKind, merged: Iterable[MergedCustomer], active: set[tuple[int, str]]
) -> list[dict[str, Any]]:
    """Return the columns of all rows of some customers, with those that identify a row."""
    return [
        {**state, kind.owner: customer.id, **dict.fromkeys(kind.key, key)}
        for customer in merged
        for key, state in customer.states(active).items()
    ]


def write_merged(kind: EventKind, rows: Sequence[dict[str, Any]]) -> None:
    """Write the merged fields into HQ's rows. At no moment are two rows of one purpose primary."""
    values = {"rows": json.dumps(rows)}
    if kind.primary:
        run_sql(demote_statement(kind), values)
    run_sql(write_statement(kind), values)


def demote_statement(kind: EventKind) -> sql.Composed:
    return sql.SQL(
        """UPDATE {table} row SET is_primary = false
             FROM jsonb_populate_recordset(NULL::{table}, %(rows)s::jsonb) entity
            WHERE row.customer_id = entity.customer_id AND row.{key} = entity.{key}
              AND row.is_primary
              AND (NOT entity.is_primary OR row.{within} IS DISTINCT FROM entity.{within})"""
    ).format(within=sql.Identifier(str(kind.primary)), **kind.names)


def write_statement(kind: EventKind) -> sql.Composed:
    columns = fields_of(kind)
    return WRITE_MERGED.format(
        columns=identifiers(columns),
        merged=listed(merged_value(kind, column) for column in columns),
        held=identifiers(columns, of="row"),
        same_row=same_row(kind),
        **kind.names,
    )


def merged_value(kind: EventKind, column: str) -> sql.Composable:
    form = "entity.{0}"
    if kind is CUSTOMER and column in INHERITED_COLUMNS:
        form = "coalesce(nullif(entity.{0}, ''), row.{0})"
    return sql.SQL(form).format(sql.Identifier(column))


def same_row(kind: EventKind) -> sql.Composed:
    """Return the condition that `row` is the row of `entity`."""
    columns = (kind.owner, *kind.key)
    return sql.SQL(" AND ").join(
        [sql.SQL("row.{0} = entity.{0}").format(sql.Identifier(column)) for column in columns]
    )


def settle_shown(kind: EventKind, merged: Iterable[MergedCustomer]) -> None:
    """Settle events as applied that came too late for a whole row, but not for a field."""
    shown = {edit.event for customer in merged for edit in customer.shown()}
    run_sql(
        """UPDATE settled_event SET outcome = 'applied'
            WHERE "table" = {name} AND event_id = ANY(%s::uuid[]) AND outcome = 'superseded'
              AND reason IS NULL""",
        [list(shown)],
        **kind.names,
    )
