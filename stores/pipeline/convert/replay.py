"""Rows anew from all their events: where an event lost, or several met, order must not show.

`merge` looks at the events of one chunk and at the row as it is. That is all it takes while events
arrive in their order. An event that came too late may still have been the last to say something:
before a deactivation, or of a field that a later one left out.
"""

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import identifiers, listed, run_sql
from stores.hqdb.work_table import WorkTable, query_table
from stores.pipeline.convert.chunk import applied_history
from stores.pipeline.convert.merge import (
    Claim,
    entity_of_event,
    normalized_columns,
    primary_names,
    same_entity,
)
from stores.pipeline.events.kinds import CUSTOMER, INHERITED_COLUMNS, EventKind

CUSTOMERS_TO_REPLAY = load(__file__, "customers_to_replay")
REPLAY = load(__file__, "replay")
DEMOTE_SUPERSEDED = load(__file__, "demote_superseded")


def replay_new(claim: Claim) -> None:
    """Replay new customers of whom the chunk has several events, or one that came too late.

    Effects: the kind's table, in the caller's transaction.
    """
    with query_table("again", customers_to_replay(claim), claim.values) as again:
        if again.rows:
            with applied_history(claim.kind, again) as history:
                replay(claim.kind, again, history)


def replay_known(claim: Claim, history: WorkTable) -> None:
    """The same for known customers, whose history is given."""
    with query_table("again", customers_to_replay(claim), claim.values) as again:
        replay(claim.kind, again, history)


def customers_to_replay(claim: Claim) -> sql.Composed:
    return CUSTOMERS_TO_REPLAY.format(
        claimed=claim.claimed,
        events=claim.events,
        is_claimed=claim.is_claimed,
        **claim.kind.names,
    )


def replay(kind: EventKind, again: WorkTable, history: WorkTable) -> None:
    """Write the rows of one kind of some customers as all their events say."""
    run_sql(replay_statement(kind, again, history))
    if kind.primary:
        run_sql(demote_statement(kind, again, history))


def replay_statement(kind: EventKind, again: WorkTable, history: WorkTable) -> sql.Composed:
    stated = [column for column in kind.columns if column not in (*kind.key, "is_primary")]
    is_active = sql.Identifier("entity", "is_active")
    return REPLAY.format(
        history=history,
        again=again,
        entity=identifiers(kind.entity),
        entity_of_event=entity_of_event(kind),
        columns_of_event=normalized_columns(kind, [*kind.key, *stated]),
        last_values=listed([identifiers(kind.entity), *map(last_value, stated)]),
        columns=identifiers([*stated, "is_active"]),
        new_values=listed([*(new_value(kind, column) for column in stated), is_active]),
        held_values=identifiers([*stated, "is_active"], of="row"),
        same_entity=same_entity(kind),
        **kind.names,
    )


def demote_statement(kind: EventKind, again: WorkTable, history: WorkTable) -> sql.Composed:
    return DEMOTE_SUPERSEDED.format(history=history, again=again, **primary_names(kind))


def last_value(column: str) -> sql.Composable:
    """What was said last of a column before any deactivation; else by the first deactivation."""
    is_stated = sql.SQL(
        "nullif({0}, '') IS NOT NULL AND has_values" if column in INHERITED_COLUMNS else "true"
    )
    return sql.SQL(
        """(array_agg({0} ORDER BY has_values DESC, CASE WHEN has_values THEN -turn ELSE turn END)
            FILTER (WHERE {1}))[1] AS {0}"""
    ).format(sql.Identifier(column), is_stated.format(sql.Identifier(column)))


def new_value(kind: EventKind, column: str) -> sql.Composable:
    """The column as it should be; what no event said of a customer stays."""
    form = "entity.{0}"
    if kind is CUSTOMER:
        form = "CASE WHEN entity.has_values THEN entity.{0} ELSE row.{0} END"
    if column in INHERITED_COLUMNS:
        form = "coalesce(entity.{0}, row.{0})"
    return sql.SQL(form).format(sql.Identifier(column))
