"""Removals stay: an edit by somebody who had not seen one does not take it back.

What such an edit says is applied, and the customer, address, contact, affiliation or attribute
stays removed until a person has decided: each such edit is an open conflict. Who had seen it
brings the entity back, as before, and so answers the conflicts that are open.

Seen is what the same database had removed itself, and what was delivered to it before the till
wrote; a person at headquarters (HQ) has seen what HQ had applied. That is judged once, when the
later of the two is applied: the conflict is the memory.
"""

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import identifiers, listed, run_sql
from stores.hqdb.work_table import WorkTable, query_table
from stores.pipeline.convert.conflicts import conflict_names
from stores.pipeline.convert.merge import (
    entity_of_event,
    normalized_column,
    normalized_columns,
    same_entity,
)
from stores.pipeline.events.kinds import EventKind

REMOVED = load(__file__, "removed")
LATER_EDITS = load(__file__, "later_edits")
REMOVE_AGAIN = load(__file__, "remove_again")
RECORD_REMOVALS = load(__file__, "record_removals")
CLOSE_REMOVALS = load(__file__, "close_removals")


def restore_removals(kind: EventKind, claimed: WorkTable, history: WorkTable) -> int:
    """Remove again what the claimed edits brought back unseen, and ask a person. Returns rows.

    Effects: the kind's table and edit_conflict, in the caller's transaction.
    """
    with query_table("removed_row", removed_query(kind, claimed, history)) as removed:
        if not removed.rows:
            return 0
        with query_table("later_edit", later_edits_query(kind, removed, history)) as edits:
            restored = run_sql(remove_statement(kind, edits))
            if restored:
                run_sql(record_statement(kind, edits))
            run_sql(close_statement(kind, edits))
    return restored


def removed_query(kind: EventKind, claimed: WorkTable, history: WorkTable) -> sql.Composed:
    """What claimed edits show as active and an event had removed. Shape: what names the entity."""
    owner = sql.Identifier("row", kind.owner)
    keys = [sql.Identifier("row", column) for column in kind.key]
    same_keys = (
        sql.SQL("{} = {}").format(key, normalized_column(kind, column))
        for key, column in zip(keys, kind.key, strict=True)
    )
    return REMOVED.format(
        entity_of_row=listed([sql.SQL("{} AS customer_id").format(owner), *keys]),
        history=history,
        claimed=claimed,
        is_about_row=sql.SQL(" AND ").join(
            [sql.SQL("event.customer_id = {}").format(owner), *same_keys]
        ),
        **kind.names,
    )


def later_edits_query(kind: EventKind, removed: WorkTable, history: WorkTable) -> sql.Composed:
    """The edits after the last removal of each entity, and whether their makers had seen it.

    Shape: what names the entity, edit, removal, edited_in, removed_in, edited_at, removed_at,
    has_seen.
    """
    keys = [normalized_columns(kind, kind.key)] if kind.key else []
    return LATER_EDITS.format(
        history=history,
        removed=removed,
        entity=identifiers(kind.entity),
        entity_of_event=entity_of_event(kind),
        columns_of_event=listed([sql.Identifier("event", "customer_id"), *keys]),
        entity_of_edit=identifiers(kind.entity, of="edit"),
    )


def remove_statement(kind: EventKind, edits: WorkTable) -> sql.Composed:
    return REMOVE_AGAIN.format(
        edits=edits,
        entity=identifiers(kind.entity),
        same_entity=same_entity(kind),
        **kind.names,
    )


def record_statement(kind: EventKind, edits: WorkTable) -> sql.Composed:
    return RECORD_REMOVALS.format(
        edits=edits, entity=identifiers(kind.entity), **conflict_names(kind, "edit")
    )


def close_statement(kind: EventKind, edits: WorkTable) -> sql.Composed:
    return CLOSE_REMOVALS.format(edits=edits, **conflict_names(kind, "edit"))
