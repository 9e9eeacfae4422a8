"""Replay: write rows anew as all events of their customers say.

Merging looks at the events of one chunk and at the row as it is. That is enough as long as events
arrive in their order. An event that came too late may still be the last word on something: on a
field that later events leave out, or on a row before its removal. A *replay* therefore goes through
all events that were ever applied to a customer, its *history*.
"""

from contextlib import AbstractContextManager

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import identifiers, listed, run_sql
from stores.hqdb.work_table import WorkTable, query_table
from stores.pipeline.convert.chunk import applied_history
from stores.pipeline.convert.concurrent_edits import settle_concurrent_edits
from stores.pipeline.convert.merge import (
    Claim,
    entity_of_event,
    normalized_columns,
    same_entity,
    within_names,
)
from stores.pipeline.events.kinds import CUSTOMER, INHERITED_COLUMNS, EventKind

CUSTOMERS_TO_REPLAY = load(__file__, "customers_to_replay")
REPLAY = load(__file__, "replay")
DEMOTE_SUPERSEDED = load(__file__, "demote_superseded")


def replay_new(claim: Claim) -> None:
    """Replay the new customers that have several events in the chunk, or one that came too late.

    Effects: those of settle_concurrent_edits().
    """
    with customers_to_replay(claim) as again:
        if again.rows:
            with applied_history(claim.kind, again) as history:
                replay(claim.kind, again, history)
                settle_concurrent_edits(claim.kind, history)


def replay_known(claim: Claim, history: WorkTable) -> None:
    """Do the same for customers that HQ knew before, whose history is given."""
    with customers_to_replay(claim) as again:
        replay(claim.kind, again, history)


def customers_to_replay(claim: Claim) -> AbstractContextManager[WorkTable]:
    return query_table("again", CUSTOMERS_TO_REPLAY.format(**claim.parts), claim.values)


def replay(kind: EventKind, again: WorkTable, history: WorkTable) -> None:
    """Write the rows of one kind of some customers anew."""
    run_sql(replay_statement(kind, again, history))
    if kind.primary:
        run_sql(demote_statement(kind, again, history))


def replay_statement(kind: EventKind, again: WorkTable, history: WorkTable) -> sql.Composed:
    columns = [column for column in kind.columns if column not in (*kind.key, "is_primary")]
    last_values = [last_value(column) for column in columns]
    new_values = [new_value(kind, column) for column in columns]
    return REPLAY.format(
        history=history,
        again=again,
        entity=identifiers(kind.entity),
        entity_of_event=entity_of_event(kind),
        same_entity=same_entity(kind),
        columns_of_event=normalized_columns(kind, [*kind.key, *columns]),
        last_values=listed([identifiers(kind.entity), *last_values]),
        columns=identifiers([*columns, "is_active"]),
        new_values=listed([*new_values, sql.Identifier("entity", "is_active")]),
        held_values=identifiers([*columns, "is_active"], of="row"),
        kept_primary=kept_primary(kind),
        **kind.names,
    )


def kept_primary(kind: EventKind) -> sql.Composable:
    """Return the assignment by which no row stays primary that gets another purpose.

    Concurrent edits may have given it a purpose that its last event does not state.
    """
    if not kind.primary:
        return sql.SQL("")
    form = ", is_primary = row.is_primary AND row.{0} IS NOT DISTINCT FROM entity.{0}"
    return sql.SQL(form).format(sql.Identifier(kind.primary))


def demote_statement(kind: EventKind, again: WorkTable, history: WorkTable) -> sql.Composed:
    return DEMOTE_SUPERSEDED.format(
        history=history, again=again, **within_names(kind), **kind.names
    )


def last_value(column: str) -> sql.Composable:
    """Return the last value of a column before any deactivation.

    If there are only deactivations, it is the value in the first of them.
    """
    is_stated = sql.SQL(
        "nullif({0}, '') IS NOT NULL AND has_values" if column in INHERITED_COLUMNS else "true"
    )
    return sql.SQL(
        """(array_agg({0} ORDER BY has_values DESC, CASE WHEN has_values THEN -turn ELSE turn END)
            FILTER (WHERE {1}))[1] AS {0}"""
    ).format(sql.Identifier(column), is_stated.format(sql.Identifier(column)))


def new_value(kind: EventKind, column: str) -> sql.Composable:
    """Return the value that a column gets. A customer keeps what no event states."""
    form = "entity.{0}"
    if kind is CUSTOMER:
        form = "CASE WHEN entity.has_values THEN entity.{0} ELSE row.{0} END"
    if column in INHERITED_COLUMNS:
        form = "coalesce(entity.{0}, row.{0})"
    return sql.SQL(form).format(sql.Identifier(column))
