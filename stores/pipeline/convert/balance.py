"""The nothing-lost balance: count where the rows of a day are now, beside what had arrived.

Triggers count what arrives. Where it is, is counted here from the rows themselves, so that a row
which vanished, or came from nowhere, shows as a difference. Only days are counted again on which
something arrived since, or some rows were not settled yet.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.retry import bisect_rows
from stores.hqdb.sql import assignments, fetch, identifiers, listed, run_sql
from stores.models import Channel, Company
from stores.models.balance import BALANCE_PARTS as PLACES
from stores.pipeline.events.document_tables import DOCUMENT_PARTS, HEADER, DocumentTable
from stores.pipeline.events.kinds import EVENT_KINDS, EventKind
from stores.pipeline.refused_rows import report_refused_rows

RECOUNT = load(__file__, "recount")
DAYS_OF_BALANCE = load(__file__, "days_of_balance")
HELD_EVENTS = load(__file__, "_held_events")
HELD_DOCUMENTS = load(__file__, "_held_documents")
# Days with unsettled rows change also without a run, by people; so often they are looked at then.
SETTLING_TIME = "interval '5 minutes'"


def count_balance(company: Company, *, is_moved: bool) -> None:
    """Count the company's days again that may have changed; `is_moved`: rows were just settled.

    Effects: table balance; one row for each database, table and day, in the caller's transaction.
    """
    left: dict[str, str] = {}
    for kind in EVENT_KINDS:
        left |= count_table(
            kind.event, held_events(kind), OF_COMPANY, {"company": company.pk}, is_moved
        )
    for part in (HEADER, *DOCUMENT_PARTS):
        # Orders and statements count what they settle.
        left |= count_table(
            part.event, held_documents(part), OF_COMPANY, {"company": company.pk}, False
        )
    report_refused_rows(f"days of the balance of {company}", left)


def count_sales(channel: Channel) -> None:
    """Count the channel's sales and orders again, of which some were just settled.

    Effects: as those of count_balance, in the caller's transaction.
    """
    for part in (HEADER, *DOCUMENT_PARTS):
        count_table(part.event, held_documents(part), OF_CHANNEL, {"channel": channel.pk}, True)


def count_table(
    table: str, held: sql.Composable, databases: str, place: Mapping[str, Any], is_moved: bool
) -> dict[str, str]:
    """Count the days of one table again. Returns those that the database refuses."""
    statement = recount(table, held, databases)
    values = {**place, "is_moved": is_moved}

    def count_days(days: Sequence[str] | None) -> int:
        return run_sql(statement, {**values, "days": None if days is None else list(days)})

    def all_days() -> list[str]:
        rows = fetch(days_statement(table, databases), values)
        return [day for (day,) in rows]

    _, refused = bisect_rows(count_days, all_days)
    return {f"{table} {day}": refusal for day, refusal in refused.items()}


# What names one row of the balance, of one table.
DAY_KEY = "concat(a.database_id, ' ', a.day)"
OF_COMPANY = """SELECT c.id FROM channel_database c JOIN channel h ON h.id = c.channel_id
                 WHERE h.company_id = %(company)s"""
OF_CHANNEL = "SELECT id FROM channel_database WHERE channel_id = %(channel)s"


def days_statement(table: str, databases: str) -> sql.Composed:
    return DAYS_OF_BALANCE.format(
        name=sql.Literal(table), day=sql.SQL(DAY_KEY), databases=sql.SQL(databases)
    )


def recount(table: str, held: sql.Composable, databases: str) -> sql.Composed:
    """The statement that counts one table; `held` selects its rows and where they are."""
    return RECOUNT.format(
        name=sql.Literal(table),
        day=sql.SQL(DAY_KEY),
        databases=sql.SQL(databases),
        held=held,
        settling=sql.SQL(SETTLING_TIME),
        places=identifiers(PLACES),
        sums=for_each_place("coalesce(sum(rows) FILTER (WHERE place = {literal}), 0) AS {name}"),
        counted=for_each_place("coalesce(f.{name}, 0)"),
        replaced=assignments(PLACES, of="excluded"),
    )


def for_each_place(words: str) -> sql.Composed:
    return listed(
        sql.SQL(words).format(name=sql.Identifier(place), literal=sql.Literal(place))
        for place in PLACES
    )


def held_events(kind: EventKind) -> sql.Composed:
    return HELD_EVENTS.format(name=sql.Literal(kind.event), view=sql.Identifier(kind.view))


def held_documents(part: DocumentTable) -> sql.Composed:
    if part is HEADER:
        return HELD_DOCUMENTS.format(rows=sql.SQL("1"), rows_aside=sql.SQL("1"))
    return HELD_DOCUMENTS.format(
        rows=sql.SQL("(SELECT count(*) FROM {} p WHERE p.transaction_id = t.id)").format(
            sql.Identifier(part.event)
        ),
        rows_aside=sql.SQL("rows_aside(q.raw, {})").format(sql.Literal(part.event)),
    )
