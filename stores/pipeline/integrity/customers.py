"""What HQ shows of a customer: the last event, unchanged, whatever the order and the clocks."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import identifiers, listed, run_sql
from stores.hqdb.work_table import WorkTable, empty_table, query_table
from stores.pipeline.convert.merge import normalized_column
from stores.pipeline.events.kinds import EVENT_KINDS, EventKind
from stores.pipeline.events.kinds import normalized as normalized_text
from stores.pipeline.integrity.checks import (
    GRACE,
    Check,
    DatabaseRule,
    check_result,
    count_rows,
    missing_rules,
    offending_rows,
)
from stores.pipeline.integrity.evidence import Evidence
from stores.pipeline.integrity.snapshot import Snapshot
from stores.pipeline.integrity.tables import COMPARED_EVENTS
from stores.pipeline.integrity.upload import false_receipts

SHOWN_ROWS = load(__file__, "shown_rows")
CHANGED_FIELDS = load(__file__, "changed_fields")
SHOWN_COLUMNS = """"table" text, customer_id bigint, key text, has_event boolean,
    is_outdated boolean, is_overtaken boolean, is_ahead boolean"""
# Customers looked at with all that belongs to them, unless all are asked for.
CUSTOMER_SAMPLE = 3_000
# What a new customer or an address gets from elsewhere when its event leaves it out.
DEFAULTED_COLUMNS = {
    "customer": ("customer_type", "language", "currency", "customer_group"),
    "address": ("purpose", "country"),
}


@contextmanager
def sampled_customers(*, full: bool) -> Iterator[WorkTable]:
    """The customers that are looked at, all or a sample. Shape: customer_id."""
    customers = count_rows("customer")
    sample = ""
    if not full and customers > CUSTOMER_SAMPLE:
        sample = f"TABLESAMPLE SYSTEM ({100 * CUSTOMER_SAMPLE / customers})"
    with query_table(
        "looked_at",
        f"SELECT id AS customer_id FROM customer {sample}",  # noqa: S608 - a number of ours
    ) as looked_at:
        run_sql(sql.SQL("ANALYZE {}").format(looked_at.identifier))
        yield looked_at


@contextmanager
def shown_rows(looked_at: WorkTable) -> Iterator[WorkTable]:
    """What each row of the customers shows, and of which event. Shape: as SHOWN_COLUMNS says."""
    with empty_table("shown", SHOWN_COLUMNS) as shown:
        for kind in EVENT_KINDS:
            run_sql(shown_statement(kind, looked_at, shown))
        yield shown


def shown_statement(kind: EventKind, looked_at: WorkTable, shown: WorkTable) -> sql.Composed:
    is_about_row = [
        sql.SQL("{} = {}").format(sql.Identifier("r", column), normalized_column(kind, column))
        for column in kind.key
    ]
    return SHOWN_ROWS.format(
        shown=shown.identifier,
        looked_at=looked_at.identifier,
        name=sql.Literal(kind.table),
        table=sql.Identifier(kind.table),
        event=sql.Identifier(kind.event),
        owner=sql.Identifier(kind.owner),
        key=sql.SQL("concat_ws(' ', {})").format(identifiers(kind.conflict, of="r")),
        is_about_row=sql.SQL(" AND ").join([sql.SQL("true"), *is_about_row]),
    )


def wrong_rows(evidence: Evidence, condition: str) -> list[dict[str, Any]]:
    """Rows of the looked-at customers that show the wrong event."""
    return offending_rows(
        f"""SELECT k.account_number, s."table" FROM {{shown}} s
              JOIN customer k ON k.id = s.customer_id WHERE {condition}""",  # noqa: S608
        evidence.names,
    )


def sample_description(snapshot: Snapshot) -> str:
    return "every customer" if snapshot.full else "a sample of customers"


def the_last_event_is_shown(evidence: Evidence) -> Check:
    return check_result(
        "I10",
        "Headquarters shows the latest event of each source, and no edit that had not seen a"
        f" removal has undone it ({sample_description(evidence.snapshot)}).",
        count_rows(evidence.shown),
        wrong_rows(evidence, "NOT has_event OR is_outdated"),
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
            owner=sql.Identifier(kind.owner),
        )
    )


def addresses_have_one_owner(evidence: Evidence) -> Check:
    return check_result(
        "I15",
        "Every address has one owner, at most one is primary for each purpose, and none is lost.",
        count_rows("customer_address"),
        evidence.snapshot.unreachable,
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
        *(
            false_receipts(copy, evidence.copies)
            for copy in COMPARED_EVENTS
            if copy.source == "async_address"
        ),
    )


def fields_arrive_unchanged(evidence: Evidence) -> Check:
    return check_result(
        "I16",
        "Fields are as the till wrote them, apart from the documented normalization"
        f" ({sample_description(evidence.snapshot)}).",
        count_rows(evidence.shown),
        *(offending_rows(changed_fields(kind, evidence.looked_at)) for kind in EVENT_KINDS),
    )


def changed_fields(kind: EventKind, looked_at: WorkTable) -> sql.Composed:
    """Query for rows that differ from the event that they show, with the columns that do."""
    expected = {
        column: expected_value(kind, column) for column in kind.columns if column != "is_primary"
    }
    differing = (
        sql.SQL("CASE WHEN {} IS DISTINCT FROM {} THEN {} END").format(
            sql.Identifier("r", column), value, sql.Literal(column)
        )
        for column, value in expected.items()
    )
    return CHANGED_FIELDS.format(
        looked_at=looked_at.identifier,
        name=sql.Literal(kind.table),
        table=sql.Identifier(kind.table),
        event=sql.Identifier(kind.event),
        owner=sql.Identifier(kind.owner),
        differing=listed(differing),
        held=identifiers(list(expected), of="r"),
        expected=listed(expected.values()),
    )


def expected_value(kind: EventKind, column: str) -> sql.Composable:
    """What a column of the row must hold, from event t; what the event left out is as it is."""
    if column in DEFAULTED_COLUMNS.get(kind.name, ()):
        return sql.SQL(f"coalesce(nullif({normalized_text(column, 't')}, ''), r.{column})")
    return normalized_column(kind, column)


def arrival_decides_nothing(evidence: Evidence) -> Check:
    return check_result(
        "I33",
        "The event shown depends on the events, not on the order of their arrival"
        f" ({sample_description(evidence.snapshot)}).",
        count_rows(evidence.shown),
        wrong_rows(evidence, "is_overtaken"),
    )


def clocks_decide_nothing(evidence: Evidence) -> Check:
    return check_result(
        "I34",
        "No event counts as later than its arrival, whatever the till's clock says, and nothing"
        f" arrived in the future ({sample_description(evidence.snapshot)}).",
        count_rows(evidence.shown),
        wrong_rows(evidence, "is_ahead"),
        offending_rows(
            f"""SELECT 'taken over in the future' AS what, max(staged_at)::text AS at
                  FROM async_customer HAVING max(staged_at) > clock_timestamp() + {GRACE}"""  # noqa: S608
        ),
    )
