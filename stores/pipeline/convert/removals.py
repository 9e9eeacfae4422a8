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
from stores.hqdb.sql import equal, identifiers, listed, run_sql
from stores.hqdb.work_table import WorkTable, query_table
from stores.pipeline.convert.merge import normalized_column
from stores.pipeline.events.kinds import EventKind

REMOVED = load(__file__, "removed")
REMOVE_AGAIN = load(__file__, "remove_again")
RECORD_REMOVALS = load(__file__, "record_removals")
CLOSE_REMOVALS = load(__file__, "close_removals")
LATER_EDITS = sql.SQL(
    """WITH mine AS (
         SELECT t.event_id, t.customer_id {of_event}, t.operation, t.database_id, t.generation,
                t.replication_counter, t.applied_at, t.corrects,
                least(t.occurred_at, t.staged_at) AS told_at,
                max(least(t.occurred_at, t.staged_at)) OVER (
                    PARTITION BY t.customer_id, {entity} t.database_id
                    ORDER BY t.generation, t.replication_counter) AS at,
                database_place(t.database_id) AS place
           FROM {history} t WHERE t.customer_id IN (SELECT customer_id FROM {removed})),
       stated AS (
         SELECT m.*, row_number() OVER (PARTITION BY customer_id {key} ORDER BY at, place,
                                        generation, replication_counter) AS turn
           FROM mine m JOIN {removed} USING (customer_id {key})),
       removal AS (
         SELECT DISTINCT ON (customer_id {key}) * FROM stated WHERE operation = 'deactivate'
          ORDER BY customer_id {key}, turn DESC)
       SELECT w.customer_id {of_edit}, w.event_id AS edit, l.event_id AS removal,
              w.database_id AS edited_in, l.database_id AS removed_in, w.told_at AS edited_at,
              l.told_at AS removed_at,
              CASE
              WHEN EXISTS (SELECT FROM edit_conflict c
                            WHERE c.lost_event = w.event_id AND c.kept_event = l.event_id
                              AND c.field = 'is_active') THEN false
              WHEN w.applied_at <> now() AND l.applied_at <> now() THEN true
              WHEN w.database_id = l.database_id AND w.generation = l.generation THEN true
              WHEN w.applied_at < l.applied_at THEN false
              WHEN w.database_id IS NULL THEN w.corrects IS NULL AND l.applied_at < w.applied_at
              ELSE EXISTS (SELECT FROM customer_delivery d
                            WHERE d.database_id = w.database_id AND d.customer_id = w.customer_id
                              AND d.delivered_at > l.applied_at AND d.delivered_at <= w.told_at
                              AND d.change_no >= (
                                  SELECT max(x.change_no) FROM customer_change x
                                   WHERE x.customer_id = w.customer_id
                                     AND x.made_at <= l.applied_at))
              END AS has_seen
         FROM stated w JOIN removal l USING (customer_id {key})
        WHERE w.turn > l.turn AND w.operation <> 'deactivate'"""
)


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
    owner = sql.Identifier("r", kind.owner)
    return REMOVED.format(
        entity_of_row=listed(
            [
                sql.SQL("{} AS customer_id").format(owner),
                *(sql.Identifier("r", column) for column in kind.key),
            ]
        ),
        table=sql.Identifier(kind.table),
        history=history,
        owner=sql.Identifier(kind.owner),
        claimed=claimed,
        is_about_row=sql.SQL(" AND ").join(
            [
                sql.SQL("t.customer_id = {}").format(owner),
                *(
                    sql.SQL("{} = {}").format(
                        sql.Identifier("r", column), normalized_column(kind, column)
                    )
                    for column in kind.key
                ),
            ]
        ),
    )


def later_edits_query(kind: EventKind, removed: WorkTable, history: WorkTable) -> sql.Composed:
    """The edits after the last removal of each entity, and whether their makers had seen it.

    Shape: what names the entity, edit, removal, edited_in, removed_in, edited_at, removed_at,
    has_seen.
    """
    return LATER_EDITS.format(
        history=history,
        of_event=sql.SQL("").join(
            sql.SQL(", {} AS {}").format(normalized_column(kind, column), sql.Identifier(column))
            for column in kind.key
        ),
        of_edit=for_each_key(kind, ", w.{0}"),
        entity=sql.SQL("").join(
            sql.SQL("{}, ").format(normalized_column(kind, column)) for column in kind.key
        ),
        key=for_each_key(kind, ", {0}"),
        removed=removed,
    )


def remove_statement(kind: EventKind, edits: WorkTable) -> sql.Composed:
    of_customer = sql.SQL("{} = u.customer_id").format(sql.Identifier("r", kind.owner))
    same_key = [equal([column], "r", "u") for column in kind.key]
    return REMOVE_AGAIN.format(
        table=sql.Identifier(kind.table),
        edits=edits,
        entity=identifiers(kind.entity),
        same_entity=sql.SQL(" AND ").join([of_customer, *same_key]),
    )


def record_statement(kind: EventKind, edits: WorkTable) -> sql.Composed:
    return RECORD_REMOVALS.format(
        edits=edits, entity=identifiers(kind.entity), **conflict_names(kind)
    )


def close_statement(kind: EventKind, edits: WorkTable) -> sql.Composed:
    return CLOSE_REMOVALS.format(edits=edits, **conflict_names(kind))


def conflict_names(kind: EventKind) -> dict[str, sql.Composable]:
    key = sql.SQL("l.{}::text").format(sql.Identifier(kind.key[0])) if kind.key else sql.SQL("''")
    return {"name": sql.Literal(kind.event), "key": key}


def for_each_key(kind: EventKind, form: str) -> sql.Composable:
    return sql.SQL("").join(sql.SQL(form).format(sql.Identifier(column)) for column in kind.key)
