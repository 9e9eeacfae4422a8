"""Removals stay: an edit by somebody who had not seen one does not take it back.

What such an edit says is applied, and the customer, address, contact, affiliation or attribute
stays removed until a person has decided: each such edit is an open conflict. Who had seen it
brings the entity back, as before, and so answers the conflicts that are open.

Seen is what the same database had removed itself, and what was delivered to it before the till
wrote; a person at headquarters (HQ) has seen what HQ had applied. That is judged once, when the
later of the two is applied, because HQ keeps only the latest delivery: the conflict is the memory.
"""

from psycopg2 import sql

from stores.hqdb.sql import run_sql
from stores.pipeline.convert.merge import normalized_column
from stores.pipeline.events.kinds import CUSTOMER, EventKind

CREATE_REMOVED = sql.SQL(
    """CREATE TEMP TABLE removed ON COMMIT DROP AS
       SELECT DISTINCT r.{owner} AS customer_id {of_row}
         FROM {table} r JOIN {event} t ON t.customer_id = r.{owner} {same_entity}
        WHERE r.{owner} IN (SELECT customer_id FROM claimed) AND r.is_active
          AND t.operation = 'deactivate' AND t.status IN ('applied', 'superseded')
          AND t.reason IS NULL"""
)
# A till's clock in the future does not make it know what was delivered later.
CREATE_LATER = sql.SQL(
    """CREATE TEMP TABLE later ON COMMIT DROP AS
       WITH mine AS (
         SELECT t.event_id, t.customer_id {of_event}, t.operation, t.database_id, t.generation,
                t.replication_counter, t.applied_at, t.corrects,
                least(t.occurred_at, t.staged_at) AS told_at,
                max(least(t.occurred_at, t.staged_at)) OVER (
                    PARTITION BY t.customer_id, {entity} t.database_id
                    ORDER BY t.generation, t.replication_counter) AS at,
                database_place(t.database_id) AS place
           FROM {event} t
          WHERE t.customer_id IN (SELECT customer_id FROM removed)
            AND t.status IN ('applied', 'superseded') AND t.reason IS NULL),
       stated AS (
         SELECT m.*, row_number() OVER (PARTITION BY customer_id {key} ORDER BY at, place,
                                        generation, replication_counter) AS turn
           FROM mine m JOIN removed USING (customer_id {key})),
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
              ELSE EXISTS (SELECT FROM delivery d
                            WHERE d.database_id = w.database_id AND d.customer_id = w.customer_id
                              AND d.delivered_at > l.applied_at AND d.delivered_at <= w.told_at)
              END AS has_seen
         FROM stated w JOIN removal l USING (customer_id {key})
        WHERE w.turn > l.turn AND w.operation <> 'deactivate'"""
)
UNDONE = "(SELECT {columns} FROM later GROUP BY {columns} HAVING NOT bool_or(has_seen))"


def restore_removals(kind: EventKind) -> int:
    """Remove again what the claimed edits brought back unseen, and ask a person. Returns rows.

    Effects: the kind's table and edit_conflict, in the caller's transaction.
    """
    table, event = sql.Identifier(kind.table), sql.Identifier(kind.event)
    owner = sql.Identifier("id" if kind is CUSTOMER else "customer_id")
    count = run_sql(
        CREATE_REMOVED.format(
            owner=owner,
            of_row=for_each_key(kind, ", r.{0}"),
            table=table,
            event=event,
            same_entity=sql.SQL(" ").join(
                sql.SQL("AND r.{} = {}").format(
                    sql.Identifier(column), normalized_column(kind, column)
                )
                for column in kind.key
            ),
        )
    )
    restored = restore_removals_of(kind, table, event, owner) if count else 0
    run_sql("DROP TABLE removed")
    return restored


def restore_removals_of(
    kind: EventKind, table: sql.Composable, event: sql.Composable, owner: sql.Composable
) -> int:
    """Judge the edits after the last removal of each entity in table removed."""
    run_sql(
        CREATE_LATER.format(
            event=event,
            of_event=sql.SQL("").join(
                sql.SQL(", {} AS {}").format(
                    normalized_column(kind, column), sql.Identifier(column)
                )
                for column in kind.key
            ),
            of_edit=for_each_key(kind, ", w.{0}"),
            entity=sql.SQL("").join(
                sql.SQL("{}, ").format(normalized_column(kind, column)) for column in kind.key
            ),
            key=for_each_key(kind, ", {0}"),
        )
    )
    names = {
        "name": sql.Literal(kind.event),
        "key": sql.SQL("l.{}::text").format(sql.Identifier(kind.key[0]))
        if kind.key
        else sql.SQL("''"),
    }
    undone = sql.SQL(UNDONE).format(columns=sql.SQL("customer_id") + for_each_key(kind, ", {0}"))
    version = "" if kind is CUSTOMER else ", hq_version = k.hq_version"
    restored = run_sql(
        sql.SQL(
            """UPDATE {table} r SET is_active = false {version}
                 FROM {undone} u JOIN customer k ON k.id = u.customer_id
                WHERE r.{owner} = u.customer_id {same}"""
        ).format(
            table=table,
            # A channel takes a row again only in a higher version; the customer's was raised.
            version=sql.SQL(version),
            undone=undone,
            owner=owner,
            same=for_each_key(kind, " AND r.{0} = u.{0}"),
        )
    )
    if restored:
        run_sql(
            sql.SQL(
                """INSERT INTO edit_conflict (customer_id, "table", key, field, lost_value,
                          kept_value, lost_event, kept_event, lost_database_id, kept_database_id,
                          lost_at, kept_at, is_clock_off, choice, reason)
                   SELECT l.customer_id, {name}, {key}, 'is_active', 'true', 'false', l.edit,
                          l.removal, l.edited_in, l.removed_in, l.edited_at, l.removed_at, false,
                          '', ''
                     FROM later l JOIN {undone} u USING (customer_id {columns})
                       ON CONFLICT DO NOTHING"""
            ).format(
                **names,
                undone=undone,
                columns=for_each_key(kind, ", {0}"),
            )
        )
    run_sql(
        sql.SQL(
            """UPDATE edit_conflict c SET closed_at = now(), choice = 'back'
                 FROM later l
                WHERE l.has_seen AND c.customer_id = l.customer_id AND c."table" = {name}
                  AND c.key = {key} AND c.field = 'is_active' AND c.lost_value = 'true'
                  AND c.closed_at IS NULL"""
        ).format(**names)
    )
    run_sql("DROP TABLE later")
    return restored


def for_each_key(kind: EventKind, form: str) -> sql.Composable:
    """The form for each column that names one entity of a customer."""
    return sql.SQL("").join(sql.SQL(form).format(sql.Identifier(column)) for column in kind.key)
