"""Checks of customers: HQ shows the latest event of each, with unchanged values.

A row of HQ, of a customer, an address and so on, shows an event if that event wrote it last. The
row has the database, generation and counter of that event. Checked are all customers or a sample.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import fetch_one, identifiers, listed, run_sql
from stores.hqdb.work_table import WorkTable, empty_table, query_table
from stores.messages.message import Message
from stores.pipeline.convert.chunk import applied_history
from stores.pipeline.convert.merge import normalized_column
from stores.pipeline.events.kinds import CUSTOMER, EVENT_KINDS, EventKind
from stores.pipeline.events.kinds import normalized as normalized_text
from stores.pipeline.integrity.checks import (
    Check,
    DatabaseRule,
    check_result,
    count_rows,
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
CUSTOMER_SAMPLE = 3_000
# The columns that get a default if the event leaves them empty.
DEFAULTED_COLUMNS = {
    "customer": ("customer_type", "language", "currency", "customer_group"),
    "address": ("purpose", "country"),
}

# A full name follows the other names, which may come from several events.
IS_COMPOSED = """row.name = concat_ws(' ', nullif(row.first_name, ''), nullif(row.middle_name, ''),
                                     nullif(row.last_name, ''))"""


@contextmanager
def sampled_customers(*, full: bool) -> Iterator[WorkTable]:
    """Make a work table of the customers to be checked, with the column customer_id."""
    customers = count_rows("customer")
    sample = ""
    if not full and customers > CUSTOMER_SAMPLE:
        sample = f"TABLESAMPLE SYSTEM ({100 * CUSTOMER_SAMPLE / customers})"
    with query_table(
        "looked_at",
        f"SELECT id AS customer_id FROM customer {sample}",  # noqa: S608 - a number of ours
    ) as looked_at:
        looked_at.analyze()
        yield looked_at


def kinds_with_rows() -> list[EventKind]:
    """Return the kinds of which HQ has rows that events have written. Others need no history."""
    has_rows = sql.SQL("EXISTS (SELECT FROM {table} WHERE event_counter IS NOT NULL)")
    columns = listed(has_rows.format(**kind.names) for kind in EVENT_KINDS)
    answers = fetch_one(sql.SQL("SELECT ") + columns)
    return [kind for kind, answer in zip(EVENT_KINDS, answers, strict=True) if answer]


@contextmanager
def shown_rows(looked_at: WorkTable) -> Iterator[tuple[WorkTable, list[dict[str, Any]]]]:
    """Make a work table that says of each row of these customers which event it shows.

    With it come the rows that differ from the event that they show.
    """
    changed: list[dict[str, Any]] = []
    with empty_table("shown", SHOWN_COLUMNS) as shown:
        for kind in kinds_with_rows():
            with applied_history(kind, looked_at) as history:
                history.analyze()
                run_sql(shown_statement(kind, looked_at, shown, history))
                changed += offending_rows(changed_fields(kind, looked_at, history))
        yield shown, changed


def shown_statement(
    kind: EventKind, looked_at: WorkTable, shown: WorkTable, history: WorkTable
) -> sql.Composed:
    is_about_row = [
        sql.SQL("{} = {}").format(sql.Identifier("row", column), normalized_column(kind, column))
        for column in kind.key
    ]
    return SHOWN_ROWS.format(
        shown=shown,
        looked_at=looked_at,
        history=history,
        table_name=sql.Literal(kind.table),
        key_text=sql.SQL("concat_ws(' ', {})").format(identifiers(kind.conflict, of="row")),
        is_about_row=sql.SQL(" AND ").join([sql.SQL("true"), *is_about_row]),
        **kind.names,
    )


def wrong_rows(evidence: Evidence, condition: str) -> list[dict[str, Any]]:
    """Return the rows of the work table `shown` with a condition."""
    return offending_rows(
        f"""SELECT customer.account_number, shown."table"
              FROM {{shown}} shown JOIN customer ON customer.id = shown.customer_id
             WHERE {condition}""",  # noqa: S608
        **evidence.names,
    )


def sample_description(snapshot: Snapshot) -> Message:
    return Message("every_customer" if snapshot.full else "sample_of_customers")


def the_last_event_is_shown(evidence: Evidence) -> Check:
    return check_result(
        "I10",
        Message("promise_I10", sample=sample_description(evidence.snapshot)),
        count_rows(evidence.shown),
        wrong_rows(evidence, "NOT has_event OR is_outdated"),
        *(brought_back(kind) for kind in EVENT_KINDS),
    )


def brought_back(kind: EventKind) -> list[dict[str, Any]]:
    """Return rows that an edit has made active again before a person has decided about that."""
    return offending_rows(
        """SELECT customer.account_number, {table_name} AS "table", 'removed' AS what
             FROM edit_conflict conflict
             JOIN customer ON customer.id = conflict.customer_id
             JOIN {event} lost ON lost.event_id = conflict.lost_event
             JOIN {table} row ON row.{owner} = conflict.customer_id
              AND row.event_database = coalesce(lost.database_id, 0)
              AND row.event_generation = lost.generation
              AND row.event_counter = lost.replication_counter
            WHERE conflict.closed_at IS NULL AND conflict.field = 'is_active'
              AND conflict.lost_value = 'true' AND conflict."table" = {name}
              AND row.is_active""",
        table_name=sql.Literal(kind.table),
        **kind.names,
    )


def addresses_have_one_owner(evidence: Evidence) -> Check:
    return check_result(
        "I15",
        Message("promise_I15"),
        count_rows("customer_address"),
        evidence.snapshot.unreachable,
        DatabaseRule("trigger", "customer_address", "its_customer_exists"),
        DatabaseRule("unique index", "customer_address", "one_primary_address_per_purpose"),
        """SELECT address.address_id::text, 'no owner' AS what FROM customer_address address
             LEFT JOIN customer ON customer.id = address.customer_id
            WHERE customer.id IS NULL""",
        """SELECT event.address_id::text, 'owner is not what its GUID became' AS what
             FROM staged_address event JOIN guid_map USING (async_account)
             LEFT JOIN customer_address address USING (address_id)
            WHERE event.status = 'applied' AND event.account_number IS NULL
              AND address.customer_id IS DISTINCT FROM guid_map.customer_id""",
        """SELECT customer.account_number, address.purpose, count(*) AS primaries
             FROM customer_address address JOIN customer ON customer.id = address.customer_id
            WHERE address.is_primary AND address.is_active
            GROUP BY address.customer_id, customer.account_number, address.purpose
           HAVING count(*) > 1""",
        *(
            false_receipts(copy, evidence.copies)
            for copy in COMPARED_EVENTS
            if copy.source == "async_address"
        ),
    )


def fields_arrive_unchanged(evidence: Evidence) -> Check:
    return check_result(
        "I16",
        Message("promise_I16", sample=sample_description(evidence.snapshot)),
        count_rows(evidence.shown),
        evidence.changed,
    )


def changed_fields(kind: EventKind, looked_at: WorkTable, history: WorkTable) -> sql.Composed:
    """Return the query for rows that differ from the event that they show. See its file."""
    columns = [column for column in kind.columns if column != "is_primary"]
    return CHANGED_FIELDS.format(
        looked_at=looked_at,
        history=history,
        table_name=sql.Literal(kind.table),
        differing=listed(differing_name(kind, column, history) for column in columns),
        **kind.names,
    )


def differing_name(kind: EventKind, column: str, history: WorkTable) -> sql.Composable:
    """Return the name of a column if `row` has another value than `event` gives it, else NULL.

    If another event about `row` states the present value, the two were merged field by field.
    """
    is_about_row = [
        sql.SQL("{} = {}").format(sql.Identifier("row", key), normalized_column(kind, key))
        for key in kind.key
    ]
    return sql.SQL(
        """CASE WHEN {held} IS DISTINCT FROM {stated} AND ({is_composed} OR EXISTS (
                SELECT FROM {history} event
                 WHERE {is_about_row} AND event.operation <> 'deactivate'
                   AND {normalized} IS NOT DISTINCT FROM {held} OFFSET 0)) IS NOT TRUE
           THEN {name} END"""
    ).format(
        name=sql.Literal(column),
        held=sql.Identifier("row", column),
        stated=stated_value(kind, column),
        normalized=normalized_column(kind, column),
        is_composed=sql.SQL(IS_COMPOSED if (kind, column) == (CUSTOMER, "name") else "false"),
        history=history,
        is_about_row=sql.SQL(" AND ").join(
            [sql.SQL("event.customer_id = checked.customer_id"), *is_about_row]
        ),
    )


def stated_value(kind: EventKind, column: str) -> sql.Composable:
    """Return the value that `event` gives a column. A default may stand for an empty value."""
    if column in DEFAULTED_COLUMNS.get(kind.noun, ()):
        return sql.SQL(f"coalesce(nullif({normalized_text(column, 'event')}, ''), row.{column})")
    return normalized_column(kind, column)


def arrival_decides_nothing(evidence: Evidence) -> Check:
    return check_result(
        "I33",
        Message("promise_I33", sample=sample_description(evidence.snapshot)),
        count_rows(evidence.shown),
        wrong_rows(evidence, "is_overtaken"),
    )


def clocks_decide_nothing(evidence: Evidence) -> Check:
    return check_result(
        "I34",
        Message("promise_I34", sample=sample_description(evidence.snapshot)),
        count_rows(evidence.shown),
        wrong_rows(evidence, "is_ahead"),
        """SELECT 'taken over in the future' AS what, max(staged_at)::text AS at
             FROM async_customer
           HAVING max(staged_at) > clock_timestamp() + interval '5 minutes'""",
    )
