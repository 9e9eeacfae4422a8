"""The nothing-lost balance: count where the rows of a day are now, beside what had arrived.

Triggers count what arrives. Where it is, is counted here from the rows themselves, so that a row
which vanished, or came from nowhere, shows as a difference. Only days are counted again on which
something arrived since, or some rows were not settled yet.
"""

from collections.abc import Sequence

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.retry import run_for_rows
from stores.hqdb.sql import assignments, identifiers, listed
from stores.models import Channel, ChannelDatabase, Company
from stores.models.balance import BALANCE_PARTS as PLACES
from stores.pipeline.events.document_tables import DOCUMENT_PARTS, HEADER, DocumentTable
from stores.pipeline.events.kinds import EVENT_KINDS, EventKind
from stores.pipeline.refused_rows import report_refused_rows

RECOUNT = load(__file__, "recount")
DAYS_OF_BALANCE = load(__file__, "days_of_balance")
HELD_EVENTS = load(__file__, "_held_events")
HELD_DOCUMENTS = load(__file__, "_held_documents")
EVENT_TABLES = [kind.event for kind in EVENT_KINDS]
SALES_TABLES = [part.event for part in (HEADER, *DOCUMENT_PARTS)]


def count_balance(company: Company, *, is_moved: bool) -> None:
    """Count the company's days again that may have changed; `is_moved`: rows were just settled.

    Effects: table balance; one row for each database, table and day, in the caller's transaction.
    """
    databases = database_ids(*company.channels.all())
    refused: dict[str, str] = {}
    for table in EVENT_TABLES:
        refused |= count_table(table, databases, is_moved=is_moved)
    for table in SALES_TABLES:
        # Orders and statements count what they settle.
        refused |= count_table(table, databases, is_moved=False)
    report_refused_rows(f"days of the balance of {company}", refused)


def count_sales(channel: Channel) -> None:
    """Count the channel's sales and orders again, of which some were just settled.

    Effects: as those of count_balance, in the caller's transaction.
    """
    for table in SALES_TABLES:
        count_table(table, database_ids(channel), is_moved=True)


def database_ids(*channels: Channel) -> list[int]:
    return list(ChannelDatabase.objects.filter(channel__in=channels).values_list("pk", flat=True))


def count_table(table: str, databases: Sequence[int], *, is_moved: bool) -> dict[str, str]:
    """Count the days of one table again. Returns those that the database refuses."""
    values = {"databases": list(databases), "is_moved": is_moved}
    days = DAYS_OF_BALANCE.format(name=sql.Literal(table))
    _, refused = run_for_rows(recount(table), values, "days", days)
    return {f"{table} {day}": refusal for day, refusal in refused.items()}


def recount(table: str) -> sql.Composed:
    """The statement that counts one table."""
    return RECOUNT.format(
        name=sql.Literal(table),
        held=HELD_ROWS[table],
        places=identifiers(PLACES),
        sums=for_each_place("coalesce(sum(rows) FILTER (WHERE place = {literal}), 0) AS {name}"),
        counted=for_each_place("coalesce(counts.{name}, 0)"),
        replaced=assignments(PLACES, of="excluded"),
    )


def for_each_place(words: str) -> sql.Composed:
    return listed(
        sql.SQL(words).format(name=sql.Identifier(place), literal=sql.Literal(place))
        for place in PLACES
    )


def held_events(kind: EventKind) -> sql.Composed:
    return HELD_EVENTS.format(**kind.names)


def held_documents(part: DocumentTable) -> sql.Composed:
    if part is HEADER:
        return HELD_DOCUMENTS.format(rows=sql.SQL("1"), quarantined_rows=sql.SQL("1"))
    rows = sql.SQL("(SELECT count(*) FROM {} WHERE transaction_id = sale.id)")
    return HELD_DOCUMENTS.format(
        rows=rows.format(sql.Identifier(part.event)),
        quarantined_rows=sql.SQL("rows_aside(quarantine.raw, {})").format(sql.Literal(part.event)),
    )


# By table the query for its rows and where they are.
HELD_ROWS = {kind.event: held_events(kind) for kind in EVENT_KINDS} | {
    part.event: held_documents(part) for part in (HEADER, *DOCUMENT_PARTS)
}
