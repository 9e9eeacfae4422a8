"""The nothing-lost balance: count where the rows of a day are now, beside what had arrived.

What arrived is counted by triggers as rows are staged or set aside, in the transaction that takes
them over. Where they are is counted here from the rows themselves, so that a row which vanished, or
came from nowhere, shows as a difference. Only days are counted again on which something arrived
since, or some rows were not settled yet.
"""

from psycopg2 import sql

from stores.models import Company
from stores.pipeline.bulk import run_sql
from stores.pipeline.kinds import KINDS, Kind

# Days with unsettled rows change also without a run, by people; so often they are looked at then.
SETTLING = "interval '5 minutes'"


def count_balance(company: Company, *, is_moved: bool) -> None:
    """Count the company's days again that may have changed; `is_moved`: rows were just settled.

    Effects: table balance; one row for each database, table and day, in the caller's transaction.
    """
    for kind in KINDS:
        run_sql(recount(kind), {"company": company.pk, "is_moved": is_moved})


def recount(kind: Kind) -> sql.Composable:
    """One statement, so that arrivals and rows are seen as of one moment."""
    return sql.SQL(
        """WITH open AS (
             SELECT a.database_id, a.day, a.rows,
                    a.day::timestamp AT TIME ZONE 'UTC' AS since,
                    (a.day + 1)::timestamp AT TIME ZONE 'UTC' AS until
               FROM arrival a LEFT JOIN balance b USING (database_id, "table", day)
              WHERE a."table" = {name}
                AND a.database_id IN (SELECT c.id FROM channel_database c
                                        JOIN channel h ON h.id = c.channel_id
                                       WHERE h.company_id = %(company)s)
                AND (b.captured IS DISTINCT FROM a.rows
                     OR (b.waiting + b.failed + b.quarantined > 0
                         AND (%(is_moved)s OR b.counted_at < now() - {settling})))),
           days AS (SELECT DISTINCT since, until FROM open),
           aside AS (
             SELECT q.database_id, q.first_seen_at AS at, s.status, s.async_account, s.event_id
               FROM quarantine q
               LEFT JOIN {event} s ON q.status = 'released' AND s.event_id = q.event_id
                                  AND s.database_id = q.database_id AND s.session_id IS NULL
              WHERE q."table" = {name}),
           held AS (
             SELECT s.database_id, s.staged_at AS at, s.status, s.async_account, s.event_id
               FROM days d JOIN {event} s ON s.staged_at >= d.since AND s.staged_at < d.until
              WHERE s.session_id IS NOT NULL
              UNION ALL SELECT * FROM aside),
           found AS (
             SELECT h.database_id, (h.at AT TIME ZONE 'UTC')::date AS day,
                    count(*) FILTER (WHERE h.status IN ('applied', 'superseded')
                                       AND l.async_account IS NULL) AS converted,
                    count(*) FILTER (WHERE h.status IN ('applied', 'superseded')
                                       AND l.async_account IS NOT NULL) AS linked,
                    count(*) FILTER (WHERE h.status = 'pending') AS waiting,
                    count(*) FILTER (WHERE h.status = 'failed') AS failed,
                    count(*) FILTER (WHERE h.event_id IS NULL) AS quarantined,
                    count(*) FILTER (WHERE h.status = 'erased') AS erased
               FROM held h
               LEFT JOIN (SELECT async_account FROM guid_map WHERE origin = 'linked') l
                    USING (async_account)
              GROUP BY 1, 2)
           INSERT INTO balance (database_id, "table", day, captured, converted, linked, waiting,
                                failed, quarantined, erased, counted_at)
           SELECT o.database_id, {name}, o.day, o.rows,
                  coalesce(f.converted, 0), coalesce(f.linked, 0), coalesce(f.waiting, 0),
                  coalesce(f.failed, 0), coalesce(f.quarantined, 0), coalesce(f.erased, 0), now()
             FROM open o LEFT JOIN found f USING (database_id, day)
            ORDER BY 1, 3
               ON CONFLICT (database_id, "table", day) DO UPDATE SET
                  captured = excluded.captured, converted = excluded.converted,
                  linked = excluded.linked, waiting = excluded.waiting, failed = excluded.failed,
                  quarantined = excluded.quarantined, erased = excluded.erased,
                  counted_at = excluded.counted_at"""
    ).format(
        name=sql.Literal(kind.event),
        event=sql.Identifier(kind.event),
        settling=sql.SQL(SETTLING),
    )
