"""What HQ shows of a customer: the last event, unchanged, whatever the order and the clocks."""

from typing import Any

from psycopg2 import sql

from stores.hqdb.sql import run_sql
from stores.pipeline.convert.merge import normalized_column
from stores.pipeline.events.kinds import EVENT_KINDS, EventKind
from stores.pipeline.events.kinds import normalized as tidied_text
from stores.pipeline.integrity.checks import (
    GRACE,
    Check,
    DatabaseRule,
    check_result,
    count_rows,
    missing_rules,
    offending_rows,
)
from stores.pipeline.integrity.snapshot import Snapshot
from stores.pipeline.integrity.tables import COMPARED_EVENTS
from stores.pipeline.integrity.upload import false_receipts

# Customers looked at with all that belongs to them, unless all are asked for.
CUSTOMER_SAMPLE = 3_000
# What a new customer or an address gets from elsewhere when its event leaves it out.
DEFAULTED_COLUMNS = {
    "customer": ("customer_type", "language", "currency", "customer_group"),
    "address": ("purpose", "country"),
}


def read_shown_rows(snapshot: Snapshot) -> None:
    """Tables looked_at: customers; and shown: what each of their rows shows, of which event."""
    customers = count_rows("customer")
    sample = ""
    if not snapshot.full and customers > CUSTOMER_SAMPLE:
        sample = f"TABLESAMPLE SYSTEM ({100 * CUSTOMER_SAMPLE / customers})"
    run_sql(
        f"""CREATE TEMP TABLE looked_at ON COMMIT DROP AS
            SELECT id AS customer_id FROM customer {sample}"""  # noqa: S608
    )
    run_sql("ANALYZE looked_at")
    run_sql(
        """CREATE TEMP TABLE shown ("table" text, customer_id bigint, key text, has_event boolean,
               is_outdated boolean, is_overtaken boolean, is_ahead boolean) ON COMMIT DROP"""
    )
    for kind in EVENT_KINDS:
        run_sql(shown_rows(kind))


def shown_rows(kind: EventKind) -> sql.Composable:
    """Judge each row of one kind by the events that could have written it.

    Within a database the later counter wins. Between databases time decides, and never that of a
    till alone; a later event of one database counts as no earlier than those before it.
    """
    return sql.SQL(
        """INSERT INTO shown
           WITH judged AS (
             SELECT l.customer_id, {key} AS key, r.event_at,
                    least(t.occurred_at, t.staged_at) AS at, t.staged_at,
                    coalesce(t.database_id, 0) = coalesce(r.event_database, 0) AS is_same,
                    (t.generation, t.replication_counter)
                      = (r.event_generation, r.event_counter) AS is_it,
                    (t.generation, t.replication_counter)
                      > (r.event_generation, r.event_counter) AS is_later,
                    row_number() OVER (PARTITION BY l.customer_id, {key}, t.database_id
                        ORDER BY t.generation DESC, t.replication_counter DESC) = 1 AS is_last
               FROM looked_at l JOIN {table} r ON r.{owner} = l.customer_id
               LEFT JOIN {event} t ON t.customer_id = l.customer_id
                     AND t.status IN ('applied', 'superseded') AND {same}
              WHERE r.event_counter IS NOT NULL)
           SELECT {name}, customer_id, key, coalesce(bool_or(is_same AND is_it), false),
                  coalesce(bool_or(is_same AND is_later), false),
                  coalesce(max(at) FILTER (WHERE is_last AND NOT is_same)
                         > max(at) FILTER (WHERE is_same), false),
                  event_at > max(staged_at)
             FROM judged GROUP BY customer_id, key, event_at"""
    ).format(
        name=sql.Literal(kind.table),
        table=sql.Identifier(kind.table),
        event=sql.Identifier(kind.event),
        owner=sql.Identifier(owner_of(kind)),
        key=sql.SQL("concat_ws(' ', {})").format(
            sql.SQL(", ").join(sql.Identifier("r", column) for column in kind.conflict)
        ),
        same=sql.SQL(" AND ").join(
            [
                sql.SQL("true"),
                *(
                    sql.SQL("r.{} = {}").format(
                        sql.Identifier(column), normalized_column(kind, column)
                    )
                    for column in kind.key
                ),
            ]
        ),
    )


def owner_of(kind: EventKind) -> str:
    """The column by which a row of the kind belongs to its customer."""
    return "id" if kind.table == "customer" else "customer_id"


def wrong_rows(condition: str) -> list[dict[str, Any]]:
    """Rows of the looked-at customers that show the wrong event."""
    return offending_rows(
        f"""SELECT k.account_number, s."table" FROM shown s
              JOIN customer k ON k.id = s.customer_id WHERE {condition}"""  # noqa: S608
    )


def sample_description(snapshot: Snapshot) -> str:
    return "every customer" if snapshot.full else "a sample of customers"


def the_last_event_is_shown(snapshot: Snapshot) -> Check:
    return check_result(
        "I10",
        "Headquarters shows the latest event of each source, and no edit that had not seen a"
        f" removal has undone it ({sample_description(snapshot)}).",
        count_rows("shown"),
        wrong_rows("NOT has_event OR is_outdated"),
        *(brought_back(kind) for kind in EVENT_KINDS),
    )


def brought_back(kind: EventKind) -> list[dict[str, Any]]:
    """Rows that are active by an edit of which a person has still to decide."""
    return offending_rows(
        sql.SQL(
            """SELECT k.account_number, {name} AS "table", 'removed' AS what
                 FROM edit_conflict c JOIN {event} t ON t.event_id = c.lost_event
                 JOIN customer k ON k.id = c.customer_id
                 JOIN {table} r ON r.{owner} = c.customer_id
                      AND r.event_database = coalesce(t.database_id, 0)
                      AND r.event_generation = t.generation
                      AND r.event_counter = t.replication_counter
                WHERE c.closed_at IS NULL AND c.field = 'is_active' AND c.lost_value = 'true'
                  AND c."table" = {event_name} AND r.is_active"""
        ).format(
            name=sql.Literal(kind.table),
            event=sql.Identifier(kind.event),
            event_name=sql.Literal(kind.event),
            table=sql.Identifier(kind.table),
            owner=sql.Identifier(owner_of(kind)),
        )
    )


def addresses_have_one_owner(snapshot: Snapshot) -> Check:
    return check_result(
        "I15",
        "Every address has one owner, at most one is primary for each purpose, and none is lost.",
        count_rows("customer_address"),
        snapshot.unreachable,
        missing_rules(
            DatabaseRule("trigger", "customer_address", "its_customer_exists"),
            DatabaseRule("unique index", "customer_address", "one_primary_address_per_purpose"),
        ),
        offending_rows(
            """SELECT a.address_id::text, 'no owner' AS what FROM customer_address a
                 LEFT JOIN customer k ON k.id = a.customer_id WHERE k.id IS NULL"""
        ),
        offending_rows(
            """SELECT s.address_id::text, 'owner is not what its GUID became' AS what
                 FROM async_address s JOIN guid_map m USING (async_account)
                WHERE s.status = 'applied' AND s.account_number IS NULL
                  AND s.customer_id <> m.customer_id"""
        ),
        offending_rows(
            """SELECT k.account_number, a.purpose, count(*) AS primaries
                 FROM customer_address a JOIN customer k ON k.id = a.customer_id
                WHERE a.is_primary AND a.is_active
                GROUP BY a.customer_id, k.account_number, a.purpose HAVING count(*) > 1"""
        ),
        *(false_receipts(copy) for copy in COMPARED_EVENTS if copy.source == "async_address"),
    )


def fields_arrive_unchanged(snapshot: Snapshot) -> Check:
    return check_result(
        "I16",
        "Fields are as the till wrote them, apart from the documented normalization"
        f" ({sample_description(snapshot)}).",
        count_rows("shown"),
        *(changed_fields(kind) for kind in EVENT_KINDS),
    )


def changed_fields(kind: EventKind) -> list[dict[str, Any]]:
    """Rows that differ from the event that they show, with the columns that do."""
    expected = {
        column: expected_value(kind, column) for column in kind.columns if column != "is_primary"
    }
    return offending_rows(
        sql.SQL(
            """SELECT k.account_number, {name} AS "table",
                      array_to_string(ARRAY[{cases}], ' ') AS columns
                 FROM looked_at l JOIN customer k ON k.id = l.customer_id
                 JOIN {table} r ON r.{owner} = l.customer_id
                 JOIN {event} t ON t.customer_id = l.customer_id
                      AND coalesce(t.database_id, 0) = coalesce(r.event_database, 0)
                      AND t.generation = r.event_generation
                      AND t.replication_counter = r.event_counter
                WHERE t.operation <> 'deactivate' AND ({actual}) IS DISTINCT FROM ({expected})"""
        ).format(
            name=sql.Literal(kind.table),
            table=sql.Identifier(kind.table),
            event=sql.Identifier(kind.event),
            owner=sql.Identifier(owner_of(kind)),
            cases=sql.SQL(", ").join(
                sql.SQL("CASE WHEN r.{} IS DISTINCT FROM {} THEN {} END").format(
                    sql.Identifier(column), value, sql.Literal(column)
                )
                for column, value in expected.items()
            ),
            actual=sql.SQL(", ").join(sql.Identifier("r", column) for column in expected),
            expected=sql.SQL(", ").join(expected.values()),
        )
    )


def expected_value(kind: EventKind, column: str) -> sql.Composable:
    """What a column of the row must hold, from event t; what the event left out is as it is."""
    if column in DEFAULTED_COLUMNS.get(kind.name, ()):
        return sql.SQL(f"coalesce(nullif({tidied_text(column, 't')}, ''), r.{column})")
    return normalized_column(kind, column)


def arrival_decides_nothing(snapshot: Snapshot) -> Check:
    return check_result(
        "I33",
        "The event shown depends on the events, not on the order of their arrival"
        f" ({sample_description(snapshot)}).",
        count_rows("shown"),
        wrong_rows("is_overtaken"),
    )


def clocks_decide_nothing(snapshot: Snapshot) -> Check:
    return check_result(
        "I34",
        "No event counts as later than its arrival, whatever the till's clock says, and nothing"
        f" arrived in the future ({sample_description(snapshot)}).",
        count_rows("shown"),
        wrong_rows("is_ahead"),
        offending_rows(
            f"""SELECT 'taken over in the future' AS what, max(staged_at)::text AS at
                  FROM async_customer HAVING max(staged_at) > clock_timestamp() + {GRACE}"""  # noqa: S608
        ),
    )
