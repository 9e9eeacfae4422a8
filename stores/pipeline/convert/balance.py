"""The nothing-lost balance: count where the rows of a day are now, beside what had arrived.

What arrived is counted by triggers as rows are staged or set aside, in the transaction that takes
them over. Where they are is counted here from the rows themselves, so that a row which vanished, or
came from nowhere, shows as a difference. Only days are counted again on which something arrived
since, or some rows were not settled yet.
"""

from collections.abc import Sequence

from psycopg2 import sql

from stores.hqdb.retry import bisect_rows
from stores.hqdb.sql import fetch, identifiers, run_sql
from stores.models import Channel, Company
from stores.models.balance import BALANCE_PARTS as PLACES
from stores.pipeline.events.document_tables import DOCUMENT_PARTS, HEADER, DocumentTable
from stores.pipeline.events.kinds import EVENT_KINDS, EventKind
from stores.pipeline.refused_rows import report_refused_rows

# Days with unsettled rows change also without a run, by people; so often they are looked at then.
SETTLING_TIME = "interval '5 minutes'"


def count_balance(company: Company, *, is_moved: bool) -> None:
    """Count the company's days again that may have changed; `is_moved`: rows were just settled.

    Effects: table balance; one row for each database, table and day, in the caller's transaction.
    """
    uncounted: dict[str, str] = {}
    for kind in EVENT_KINDS:
        uncounted |= count_table(kind.event, events_by_part(kind), OF_COMPANY, company.pk, is_moved)
    for part in (HEADER, *DOCUMENT_PARTS):
        # Orders and statements count what they settle.
        uncounted |= count_table(part.event, documents_by_part(part), OF_COMPANY, company.pk, False)
    report_refused_rows(f"days of the balance of {company}", uncounted)


def count_sales(channel: Channel) -> None:
    """Count the channel's sales and orders again, of which some were just settled.

    Effects: as those of count_balance, in the caller's transaction.
    """
    for part in (HEADER, *DOCUMENT_PARTS):
        count_table(part.event, documents_by_part(part), OF_CHANNEL, channel.pk, True)


def count_table(
    table: str, held: sql.Composable, databases: str, place: object, is_moved: bool
) -> dict[str, str]:
    """Count the days of one table again.

    Returns those that the database refuses, as channel database and day, with what it said.
    """
    statement = recount(table, held, databases)
    values = {"place": place, "is_moved": is_moved}

    def count_days(days: Sequence[str] | None) -> int:
        return run_sql(statement, {**values, "days": None if days is None else list(days)})

    def all_days() -> list[str]:
        rows = fetch(
            sql.SQL(
                """SELECT DISTINCT {day} FROM arrival a
                    WHERE a."table" = {name} AND a.database_id IN ({databases}) ORDER BY 1"""
            ).format(day=sql.SQL(DAY_KEY), name=sql.Literal(table), databases=sql.SQL(databases)),
            values,
        )
        return [day for (day,) in rows]

    _, refused = bisect_rows(count_days, all_days)
    return {f"{table} {day}": refusal for day, refusal in refused.items()}


# What names one row of the balance, of one table.
DAY_KEY = "concat(a.database_id, ' ', a.day)"
OF_COMPANY = """SELECT c.id FROM channel_database c JOIN channel h ON h.id = c.channel_id
                 WHERE h.company_id = %(place)s"""
OF_CHANNEL = "SELECT id FROM channel_database WHERE channel_id = %(place)s"


def recount(table: str, held: sql.Composable, databases: str) -> sql.Composable:
    """One statement, so that arrivals and rows are seen as of one moment.

    `held` selects the rows that the databases handed over on certain days, of table days or set
    aside: database_id, at, place, rows.
    """
    return sql.SQL(
        """WITH open AS (
             SELECT a.database_id, a.day, a.rows,
                    a.day::timestamp AT TIME ZONE 'UTC' AS since,
                    (a.day + 1)::timestamp AT TIME ZONE 'UTC' AS until
               FROM arrival a LEFT JOIN balance b USING (database_id, "table", day)
              WHERE a."table" = {name}
                AND a.database_id IN ({databases})
                AND (%(days)s::text[] IS NULL OR {day} = ANY(%(days)s::text[]))
                AND (b.captured IS DISTINCT FROM a.rows
                     OR (b.waiting + b.failed + b.quarantined > 0
                         AND (%(is_moved)s OR b.counted_at < now() - {settling})))),
           days AS (SELECT DISTINCT since, until FROM open),
           held AS ({held}),
           found AS (
             SELECT database_id, (at AT TIME ZONE 'UTC')::date AS day, {sums}
               FROM held GROUP BY 1, 2)
           INSERT INTO balance (database_id, "table", day, captured, {parts}, counted_at)
           SELECT o.database_id, {name}, o.day, o.rows, {found}, now()
             FROM open o LEFT JOIN found f USING (database_id, day)
            ORDER BY 1, 3
               ON CONFLICT (database_id, "table", day) DO UPDATE SET
                  captured = excluded.captured, {replaced}, counted_at = excluded.counted_at"""
    ).format(
        name=sql.Literal(table),
        day=sql.SQL(DAY_KEY),
        databases=sql.SQL(databases),
        held=held,
        settling=sql.SQL(SETTLING_TIME),
        parts=identifiers(PLACES),
        sums=for_each_part("coalesce(sum(rows) FILTER (WHERE place = {literal}), 0) AS {name}"),
        found=for_each_part("coalesce(f.{name}, 0)"),
        replaced=for_each_part("{name} = excluded.{name}"),
    )


def for_each_part(words: str) -> sql.Composable:
    """The same for every place, with commas between."""
    return sql.SQL(", ").join(
        sql.SQL(words).format(name=sql.Identifier(place), literal=sql.Literal(place))
        for place in PLACES
    )


def events_by_part(kind: EventKind) -> sql.Composable:
    return sql.SQL(
        """SELECT e.database_id, e.at, 1 AS rows,
                  CASE WHEN e.status IS NULL THEN 'quarantined'
                       WHEN e.status NOT IN ('applied', 'superseded')
                       THEN CASE e.status WHEN 'pending' THEN 'waiting' ELSE e.status END
                       WHEN l.async_account IS NULL THEN 'converted' ELSE 'linked' END AS place
             FROM (SELECT s.database_id, s.staged_at AS at, s.status, s.async_account
                     FROM days d JOIN {event} s ON s.staged_at >= d.since AND s.staged_at < d.until
                    WHERE s.session_id IS NOT NULL
                   UNION ALL
                   SELECT q.database_id, q.first_seen_at, s.status, s.async_account
                     FROM quarantine q
                     LEFT JOIN {event} s ON q.status = 'released' AND s.event_id = q.event_id
                                        AND s.database_id = q.database_id AND s.session_id IS NULL
                    WHERE q."table" = {name}) e
             LEFT JOIN (SELECT async_account FROM guid_map WHERE origin = 'linked') l
                  USING (async_account)"""
    ).format(name=sql.Literal(kind.event), event=sql.Identifier(kind.event))


def documents_by_part(part: DocumentTable) -> sql.Composable:
    """Sales and orders, or the lines or payments that are there of them, and where they are."""
    held: sql.Composable = sql.SQL("1")
    aside: sql.Composable = sql.SQL("1")
    if part is not HEADER:
        rows = "(SELECT count(*) FROM {} p WHERE p.transaction_id = t.id)"
        held = sql.SQL(rows).format(sql.Identifier(part.event))
        aside = sql.SQL("rows_aside(q.raw, {})").format(sql.Literal(part.event))
    return sql.SQL(
        """SELECT t.database_id, t.staged_at AS at, {held} AS rows, {place} AS place
             FROM days d JOIN {header} t ON t.staged_at >= d.since AND t.staged_at < d.until
            WHERE t.session_id IS NOT NULL
           UNION ALL
           SELECT q.database_id, q.first_seen_at,
                  CASE WHEN t.id IS NULL THEN {aside} ELSE {held} END,
                  CASE WHEN t.id IS NULL THEN 'quarantined' ELSE {place} END
             FROM quarantine q
             LEFT JOIN {header} t ON q.status = 'released' AND t.event_id = q.event_id
                                 AND t.database_id = q.database_id AND t.session_id IS NULL
            WHERE q."table" = {name}"""
    ).format(
        held=held,
        aside=aside,
        place=sql.SQL(PLACE_OF_DOCUMENT),
        header=sql.Identifier(HEADER.event),
        name=sql.Literal(HEADER.event),
    )


PLACE_OF_DOCUMENT = """CASE WHEN t.sales_order_id IS NOT NULL THEN 'posted'
                            WHEN t.entry_status = 'voided' THEN 'voided'
                            WHEN t.validation_status = 'error' OR t.order_status = 'failed'
                            THEN 'failed' ELSE 'waiting' END"""
