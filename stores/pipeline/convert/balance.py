"""The nothing-lost balance: what became of all rows that arrived on a day.

Triggers count the rows that arrive. This module counts the same rows where they are now: converted,
waiting, quarantined and so on. If a row is lost, or comes from nowhere, the two do not agree.
"""

from collections.abc import Mapping, Sequence

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.retry import run_for_rows
from stores.hqdb.sql import fetch_values
from stores.messages.message import Message
from stores.models import Channel, ChannelDatabase, Company
from stores.pipeline.events.document_tables import DOCUMENT_PARTS, HEADER
from stores.pipeline.events.kinds import EVENT_KINDS
from stores.pipeline.refused_rows import report_refused_rows

RECOUNT_EVENTS = load(__file__, "recount_events")
RECOUNT_SALES = load(__file__, "recount_sales")
EVENT_TABLES = [kind.event for kind in EVENT_KINDS]
SALES_TABLES = [part.event for part in (HEADER, *DOCUMENT_PARTS)]


def count_balance(company: Company, *, is_moved: bool) -> None:
    """Count the company's days again that may have changed.

    `is_moved` says that a run has just converted some events. Effects: table balance, with one row
    for each database, table and day; in the caller's transaction.
    """
    # The steps that settle sales call count_sales() for them.
    moved = dict.fromkeys(EVENT_TABLES, is_moved) | dict.fromkeys(SALES_TABLES, False)
    refused = count_tables(moved, database_ids(*company.channels.all()))
    report_refused_rows(
        f"days of the balance of {company}",
        Message("days_of_balance", company=company.pk),
        refused,
    )


def count_sales(channel: Channel) -> None:
    """Count the days of the channel's sales and orders again, of which a run has settled some.

    Effects: those of count_balance().
    """
    count_tables(dict.fromkeys(SALES_TABLES, True), database_ids(channel))


def database_ids(*channels: Channel) -> list[int]:
    return list(ChannelDatabase.objects.filter(channel__in=channels).values_list("pk", flat=True))


def count_tables(moved: Mapping[str, bool], databases: Sequence[int]) -> dict[str, str]:
    """Count the tables again that have days to count. Returns the days that the database refuses.

    `moved` says for each table whether a run has just settled rows of it.
    """
    to_count = fetch_values(
        """SELECT moved."table" FROM unnest(%s::text[], %s::boolean[]) moved ("table", is_moved)
            WHERE EXISTS (SELECT FROM days_to_count("table", %s::bigint[], is_moved, NULL))""",
        [list(moved), list(moved.values()), list(databases)],
    )
    refused: dict[str, str] = {}
    for table in to_count:
        refused |= count_table(table, databases, is_moved=moved[table])
    return refused


def count_table(table: str, databases: Sequence[int], *, is_moved: bool) -> dict[str, str]:
    """Count the days of one table again. Returns the days that the database refuses, and why."""
    _, refused = run_for_rows(
        RECOUNT[table],
        {"table": table, "databases": list(databases), "is_moved": is_moved},
        "days",
        """SELECT DISTINCT concat(database_id, ' ', day) AS day FROM arrival
            WHERE "table" = %(table)s AND database_id = ANY(%(databases)s) ORDER BY day""",
    )
    return {f"{table} {day}": refusal for day, refusal in refused.items()}


def recount_sales(table: str) -> sql.Composed:
    """Return the statement for sales, or for their lines or payments, which count with them."""
    rows: sql.Composable = sql.SQL("1")
    quarantined_rows = rows
    if table != HEADER.event:
        count = sql.SQL("(SELECT count(*) FROM {} WHERE transaction_id = sale.id)")
        rows = count.format(sql.Identifier(table))
        quarantined_rows = sql.SQL("rows_aside(quarantine.raw, {})").format(sql.Literal(table))
    return RECOUNT_SALES.format(
        name=sql.Literal(table), rows=rows, quarantined_rows=quarantined_rows
    )


# The statement that counts each table.
RECOUNT = {kind.event: RECOUNT_EVENTS.format(**kind.names) for kind in EVENT_KINDS} | {
    table: recount_sales(table) for table in SALES_TABLES
}
