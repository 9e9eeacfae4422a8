"""Edits whose makers did not know of each other: recorded with both values, whoever wins.

The winner is what `merge` says: the later edit stays. This only looks, once for each chunk of
edits, what the claimed customers show now and which other place had said otherwise, unseen. New
customers are not looked at: nobody else can have edited them.
"""

from psycopg2 import sql

from stores.hqdb.sql import run_sql
from stores.hqdb.work_table import WorkTable
from stores.pipeline.convert.merge import normalized_column
from stores.pipeline.events.kinds import ADDRESS, CONTACT, CUSTOMER, INHERITED_COLUMNS, EventKind
from stores.pipeline.events.kinds import normalized as normalized_text

# A till that makes an entity known cannot have overlooked another's edit of it.
KINDS_WITH_CREATION = (CUSTOMER, ADDRESS, CONTACT)

RECORD_CONFLICTS = sql.SQL(
    """WITH pair AS MATERIALIZED (
         SELECT DISTINCT ON (w.event_id, l.database_id)
                w.event_id AS kept, l.event_id AS lost
           FROM {table} r
           JOIN {history} l ON l.customer_id = r.{owner}
                AND coalesce(l.database_id, 0) <> r.event_database {is_edit} {same_key}
           JOIN {history} w ON w.customer_id = r.{owner}
                AND coalesce(w.database_id, 0) = r.event_database
                AND w.generation = r.event_generation
                AND w.replication_counter = r.event_counter
          WHERE r.{owner} IN (SELECT customer_id FROM {claimed})
            AND now() IN (l.applied_at, w.applied_at)
            -- What was not at HQ yet, or has not been sent to that channel since, was not seen.
            AND (l.applied_at >= r.event_at
                 OR w.database_id IS NOT NULL AND NOT EXISTS (
                    SELECT FROM customer_delivery d
                     WHERE d.database_id = w.database_id AND d.customer_id = w.customer_id
                       AND d.delivered_at > l.applied_at
                       AND d.change_no >= (
                           SELECT max(x.change_no) FROM customer_change x
                            WHERE x.customer_id = w.customer_id AND x.made_at <= l.applied_at)))
          ORDER BY w.event_id, l.database_id, l.generation DESC, l.replication_counter DESC),
       lost AS (SELECT p.kept, {pair_columns} FROM pair p JOIN {history} t ON t.event_id = p.lost),
       kept AS (SELECT {pair_columns} FROM pair p JOIN {history} t ON t.event_id = p.kept)
       INSERT INTO edit_conflict (customer_id, "table", key, field, lost_value, kept_value,
                                  lost_event, kept_event, lost_database_id, kept_database_id,
                                  lost_at, kept_at, clock_skewed, closed_at, choice, reason)
       SELECT l.customer_id, {name}, {key}, v.field, v.lost, v.kept, l.event_id, w.event_id,
              l.database_id, w.database_id, l.at, w.at, l.is_off OR w.is_off,
              CASE WHEN NOT (l.is_off OR w.is_off) THEN now() END,
              CASE WHEN l.is_off OR w.is_off THEN '' ELSE 'rule' END, ''
         FROM lost l JOIN kept w ON w.event_id = l.kept
         LEFT JOIN LATERAL (
              SELECT {pair_columns} FROM {history} t
               WHERE t.customer_id = l.customer_id {same_key_as_lost}
                 AND (least(t.occurred_at, t.staged_at), database_place(t.database_id),
                      t.generation, t.replication_counter)
                   < (l.at, l.place, l.generation, l.replication_counter)
               ORDER BY least(t.occurred_at, t.staged_at) DESC, database_place(t.database_id) DESC,
                        t.generation DESC, t.replication_counter DESC
               LIMIT 1) b ON true
        CROSS JOIN LATERAL (VALUES {values}) AS v (field, is_said, lost, kept, was)
        WHERE v.is_said AND v.lost <> v.kept AND (b.event_id IS NULL OR v.lost <> v.was)
           ON CONFLICT DO NOTHING"""
)
PAIR_COLUMNS = """t.event_id, t.customer_id, t.database_id, t.operation, t.generation,
          t.replication_counter, least(t.occurred_at, t.staged_at) AS at,
          database_place(t.database_id) AS place,
          t.operation <> 'deactivate' AS is_active, {is_off} AS is_off, {columns}"""
# What shows that a clock was wrong: a time that has not come yet, one before the account was there
# that the event names, or before the customer was, or before what the same database wrote earlier.
CLOCK_SKEWED = """(t.occurred_at > t.staged_at + interval '15 minutes'
             OR t.operation <> 'create' AND t.occurred_at < interval '-15 minutes' + (
                SELECT CASE WHEN t.account_number IS NOT NULL THEN k.created_at
                            ELSE coalesce(min(least(c.occurred_at, c.staged_at)), k.created_at) END
                  FROM customer k LEFT JOIN guid_map m ON m.customer_id = k.id
                  LEFT JOIN async_customer c
                       ON c.async_account = m.async_account AND c.operation = 'create'
                      AND c.account_number IS NULL
                 WHERE k.id = t.customer_id GROUP BY k.id)
             OR EXISTS (
                SELECT FROM {history} x
                 WHERE x.customer_id = t.customer_id AND x.database_id = t.database_id
                   AND (x.generation, x.replication_counter)
                     < (t.generation, t.replication_counter)
                   AND least(x.occurred_at, x.staged_at)
                     > t.occurred_at + interval '15 minutes'))"""


def record_conflicts(kind: EventKind, claimed: WorkTable, history: WorkTable) -> int:
    """Record what the claimed edits conflict with, each field with both values. Returns fields.

    Open are those where a clock was more than 15 minutes wrong: the later edit may not be the later
    one. The others are closed by the rule. Effects: edit_conflict, in the caller's transaction.
    """
    return run_sql(record_statement(kind, claimed, history))


def record_statement(kind: EventKind, claimed: WorkTable, history: WorkTable) -> sql.Composed:
    fields = [column for column in kind.columns if column not in kind.key]
    pair_columns = sql.SQL(PAIR_COLUMNS).format(
        is_off=sql.SQL(CLOCK_SKEWED).format(history=history),
        columns=sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(column_text(kind, column), sql.Identifier(column))
            for column in kind.columns
        ),
    )
    return RECORD_CONFLICTS.format(
        table=sql.Identifier(kind.table),
        history=history,
        claimed=claimed,
        owner=sql.Identifier(kind.owner),
        name=sql.Literal(kind.event),
        is_edit=sql.SQL("AND l.operation <> 'create'" if kind in KINDS_WITH_CREATION else ""),
        same_key=same_key(kind, "l", "r"),
        same_key_as_lost=same_key(kind, "t", "l"),
        key=sql.SQL("l.{}").format(sql.Identifier(kind.key[0])) if kind.key else sql.SQL("''"),
        pair_columns=pair_columns,
        values=sql.SQL(", ").join(map(field_values, fields)) if fields else NO_VALUES,
    )


# An affiliation says nothing but that it is there, and removals are no contest: see removals.
NO_VALUES = sql.SQL("('', false, '', '', '')")


def field_values(column: str) -> sql.Composable:
    """A field with the values of the lost, the kept and the earlier event."""
    is_stated = "l.is_active AND w.is_active"
    if column in INHERITED_COLUMNS:
        is_stated += " AND '' NOT IN (l.{0}, w.{0})"
    return sql.SQL("({1}, " + is_stated + ", l.{0}, w.{0}, b.{0})").format(
        sql.Identifier(column), sql.Literal(column)
    )


def column_text(kind: EventKind, column: str) -> sql.Composable:
    """The value of a column of event t as HQ keeps it, as a text."""
    empty = "false" if kind.type_of(column) == "boolean" else ""
    value = sql.SQL("coalesce(({})::text, {})")
    return value.format(normalized_column(kind, column), sql.Literal(empty))


def same_key(kind: EventKind, event: str, other: str) -> sql.Composable:
    """That an event and a row are about the same of the customer's addresses, contacts, …"""
    return sql.SQL(" ").join(
        sql.SQL(
            f"AND {normalized_text(column, event)} = {other}.{column}"
            if kind.type_of(column) == "text"
            else f"AND {event}.{column}::text = {other}.{column}::text"
        )
        for column in kind.key
    )
