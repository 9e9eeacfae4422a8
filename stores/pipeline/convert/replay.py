"""Rows anew from all their events: where an event lost, or several met, order must not show.

`merge` looks at the events of one chunk and at the row as it is. That is all it takes while events
arrive in their order. An event that came too late may still have been the last to say something:
before a deactivation, or of a field that a later one left out.
"""

from psycopg2 import sql

from stores.hqdb.sql import run_sql
from stores.pipeline.convert.merge import LATEST_EVENT_COLUMNS, later_primary, normalized_column
from stores.pipeline.events.kinds import CUSTOMER, INHERITED_COLUMNS, EventKind

# An account that no till made begins with what it was made with: what is older says nothing of it.
HISTORY = sql.SQL(
    """mine AS (
       SELECT t.customer_id, t.operation, coalesce(t.database_id, 0) AS database_id, t.generation,
              t.replication_counter, database_place(t.database_id) AS place,
              max(least(t.occurred_at, t.staged_at)) OVER (
                  PARTITION BY t.customer_id, {entity} t.database_id
                  ORDER BY t.generation, t.replication_counter) AS at,
              {columns}
         FROM {event} t
        WHERE t.status IN ('applied', 'superseded') AND t.reason IS NULL
          AND t.customer_id IN (SELECT customer_id FROM again)),
     stated AS (
       SELECT m.*, m.operation <> 'deactivate' AS has_values,
              row_number() OVER (PARTITION BY m.customer_id {key} ORDER BY m.at, m.place,
                                              m.generation, m.replication_counter) AS turn
         FROM mine m JOIN customer k ON k.id = m.customer_id
        WHERE m.at > k.created_at
           OR EXISTS (SELECT FROM guid_map g WHERE g.customer_id = k.id AND g.origin = 'created')),
     whole AS (
       SELECT customer_id {key}, coalesce(bool_or(has_values), false) AS has_values,
              {last_values}
              (array_agg(operation ORDER BY turn DESC))[1] <> 'deactivate' AS is_active,
              (array_agg(at ORDER BY turn DESC))[1] AS event_at,
              (array_agg(database_id ORDER BY turn DESC))[1] AS event_database,
              (array_agg(generation ORDER BY turn DESC))[1] AS event_generation,
              (array_agg(replication_counter ORDER BY turn DESC))[1] AS event_counter
         FROM stated GROUP BY customer_id {key})"""
)


def replay_events(kind: EventKind) -> None:
    """Replay claimed customers of whom this transaction took several events, or one too late.

    Effects: the kind's table, in the caller's transaction.
    """
    run_sql(
        sql.SQL(
            """CREATE TEMP TABLE again ON COMMIT DROP AS
               SELECT s.customer_id FROM {} s
                WHERE s.customer_id IN (SELECT customer_id FROM claimed) AND s.applied_at = now()
                GROUP BY 1 HAVING count(*) > 1 OR bool_or(s.status = 'superseded')"""
        ).format(sql.Identifier(kind.event))
    )
    replay_kind(kind)
    if kind.primary:
        demote_superseded_primaries(kind)
    run_sql("DROP TABLE again")


def replay_kind(kind: EventKind) -> None:
    """Write the rows of one kind of the customers in table again as all their events say.

    Which of them are primary stays.
    """
    stated_columns = [column for column in kind.columns if column not in (*kind.key, "is_primary")]
    changed = [*stated_columns, "is_active", *LATEST_EVENT_COLUMNS]
    owner = "id" if kind is CUSTOMER else "customer_id"
    version = ", hq_version = (SELECT k.hq_version FROM customer k WHERE k.id = w.customer_id)"
    run_sql(
        sql.SQL(
            """WITH {history}
               UPDATE {table} r SET ({changed}) = ROW ({new}) {version}
                 FROM whole w
                WHERE r.{owner} = w.customer_id AND r.event_counter IS NOT NULL {same}
                  AND ({held}) IS DISTINCT FROM ({new})"""
        ).format(
            history=history_ctes(kind, stated_columns),
            table=sql.Identifier(kind.table),
            owner=sql.Identifier(owner),
            changed=joined_columns(changed, "{}"),
            # A channel takes a row again only in a higher version; the customer's is raised.
            version=sql.SQL("" if kind is CUSTOMER else version),
            held=joined_columns(changed, "r.{}"),
            new=sql.SQL(", ").join(
                [
                    *(new_value(kind, column) for column in stated_columns),
                    joined_columns(["is_active", *LATEST_EVENT_COLUMNS], "w.{}"),
                ]
            ),
            same=sql.SQL(" ").join(
                sql.SQL("AND r.{0} = w.{0}").format(sql.Identifier(column)) for column in kind.key
            ),
        )
    )


def demote_superseded_primaries(kind: EventKind) -> None:
    """Take back primaries that a later event had given to another row of the same customer."""
    run_sql(
        sql.SQL(
            """UPDATE {table} r
                  SET is_primary = false,
                      hq_version = (SELECT k.hq_version FROM customer k WHERE k.id = r.customer_id)
                WHERE r.customer_id IN (SELECT customer_id FROM again)
                  AND r.is_primary AND r.is_active
                  AND EXISTS (SELECT FROM {event} t WHERE {later_primary})"""
        ).format(
            table=sql.Identifier(kind.table),
            event=sql.Identifier(kind.event),
            later_primary=later_primary(kind, "r", "event_at", "event_database"),
        )
    )


def history_ctes(kind: EventKind, stated_columns: list[str]) -> sql.Composable:
    """CTEs; the last one, whole, has one row for each entity of the customers in table again."""
    return HISTORY.format(
        event=sql.Identifier(kind.event),
        entity=sql.SQL("").join(
            sql.SQL("{}, ").format(normalized_column(kind, column)) for column in kind.key
        ),
        key=joined_columns(kind.key, ", {}", between=""),
        columns=sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(normalized_column(kind, column), sql.Identifier(column))
            for column in (*kind.key, *stated_columns)
        ),
        last_values=sql.SQL("").join(map(last_value, stated_columns)),
    )


def joined_columns(
    names: list[str] | tuple[str, ...], form: str, between: str = ", "
) -> sql.Composable:
    return sql.SQL(between).join(sql.SQL(form).format(sql.Identifier(column)) for column in names)


def last_value(column: str) -> sql.Composable:
    """What was said last of a column before any deactivation; else by the first deactivation."""
    is_stated = sql.SQL(
        "nullif({0}, '') IS NOT NULL AND has_values" if column in INHERITED_COLUMNS else "true"
    )
    return sql.SQL(
        """(array_agg({0} ORDER BY has_values DESC, CASE WHEN has_values THEN -turn ELSE turn END)
            FILTER (WHERE {1}))[1] AS {0},"""
    ).format(sql.Identifier(column), is_stated.format(sql.Identifier(column)))


def new_value(kind: EventKind, column: str) -> sql.Composable:
    """The column as it should be; what no event said of a customer stays."""
    form = "w.{0}"
    if kind is CUSTOMER:
        form = "CASE WHEN w.has_values THEN w.{0} ELSE r.{0} END"
    if column in INHERITED_COLUMNS:
        form = "coalesce(w.{0}, r.{0})"
    return sql.SQL(form).format(sql.Identifier(column))
