"""Removals are not undone by an edit whose maker did not know of them.

A removal deactivates a customer, or removes an address, contact, affiliation or attribute. If its
maker knew of the removal, a later edit brings the entity back. If not, the edit is applied but the
entity stays removed, and a person decides: the edit is recorded as an open conflict.

A till knows of removals in its own database, and of those that were delivered to it before the
edit. A person at headquarters (HQ) knows of all that HQ had applied. This is judged once, when the
later one of edit and removal is applied; the conflict records the verdict.
"""

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import fetch_value, identifiers, listed, run_sql
from stores.hqdb.work_table import WorkTable, query_table
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
    """Remove again what claimed edits brought back unknowingly. Returns the number of rows.

    `history` are the events that were applied to the customers of the edits. Effects: HQ's table of
    the kind and edit_conflict, in the caller's transaction.
    """
    has_removals = fetch_value(
        "SELECT EXISTS (SELECT FROM {history} WHERE operation = 'deactivate')", history=history
    )
    if not has_removals:
        return 0
    with query_table("removed_row", removed_query(kind, claimed, history)) as removed:
        if not removed.rows:
            return 0
        with query_table("later_edit", later_edits_query(kind, removed, history)) as edits:
            names = names_of_edits(kind, edits)
            restored = run_sql(REMOVE_AGAIN.format(**names))
            if restored:
                run_sql(RECORD_REMOVALS.format(**names))
            run_sql(CLOSE_REMOVALS.format(**names))
    return restored


def removed_query(kind: EventKind, claimed: WorkTable, history: WorkTable) -> sql.Composed:
    """Return the query for entities that claimed edits show as active and an event had removed.

    Shape: the columns that identify the entity.
    """
    customer = sql.SQL("{} AS customer_id").format(sql.Identifier("row", kind.owner))
    keys = [sql.Identifier("row", column) for column in kind.key]
    return REMOVED.format(
        entity_of_row=listed([customer, *keys]),
        history=history,
        claimed=claimed,
        is_about_row=is_about_row(kind),
        **kind.names,
    )


def later_edits_query(kind: EventKind, removed: WorkTable, history: WorkTable) -> sql.Composed:
    """Return the query for the edits after the last removal of each entity.

    Shape: the columns that identify the entity, edit, removal, edited_in, removed_in, edited_at,
    removed_at, has_seen.
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


def names_of_edits(kind: EventKind, edits: WorkTable) -> dict[str, sql.Composable]:
    """Return the holes of the statements that settle later edits.

    {key_text} is which of its customer's rows `edit` means.
    """
    key_text = sql.SQL("{}::text").format(sql.Identifier("edit", kind.key[0])) if kind.key else None
    return {
        "edits": edits,
        "entity": identifiers(kind.entity),
        "same_entity": same_entity(kind),
        "key_text": key_text or sql.SQL("''"),
        **kind.names,
    }


def is_about_row(kind: EventKind) -> sql.Composed:
    """Return the condition that `event` of a history is about `row`, which is HQ's."""
    owner = sql.SQL("event.customer_id = {}").format(sql.Identifier("row", kind.owner))
    keys = (
        sql.SQL("{} = {}").format(sql.Identifier("row", column), normalized_column(kind, column))
        for column in kind.key
    )
    return sql.SQL(" AND ").join([owner, *keys])
