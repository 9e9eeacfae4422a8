"""Synchronize customers and business partners from async mode: staging -> HQ customers."""

from uuid import UUID

from psycopg2 import sql

from stores.models import Company, RunStep
from stores.pipeline.accounts import open_accounts, retry_exhausted
from stores.pipeline.bulk import CUSTOMERS, fetch_one, lock_until_commit, run_sql
from stores.pipeline.fold import BY_EVENT, LATEST, demote_primaries, newer, newest, write_children
from stores.pipeline.kinds import CUSTOMER, KINDS, Kind

# Below this the planner's old figures serve as well.
WORTH_ANALYZING = 1_000
# What a new customer inherits; an edit that leaves it out keeps it.
INHERITED = ("customer_type", "language", "currency", "customer_group")


def convert_customers(step: RunStep) -> None:
    """Give each staged customer of the company its account, then apply edits of known ones.

    Effects: see open_accounts; a chunk a transaction.
    """
    company = step.its_company
    with step.chunk():
        tell_the_planner()
        retry_exhausted(company)
    beyond: UUID | None = None
    while True:
        with step.chunk():
            opened = open_accounts(step, company, beyond=beyond)
            step.add(converted=opened.converted, failed=opened.failed)
        if opened.last is None:
            break
        beyond = opened.last
    for kind in KINDS:
        while apply_edits(step, company, kind):
            pass
    with step.chunk():
        for kind in KINDS:
            supersede_quarantined(company, kind)
        step.add(waiting=sum(explain_waiting(company, kind) for kind in KINDS))


def tell_the_planner() -> None:
    """Refresh the statistics of staging after a large upload.

    With old ones a chunk could scan a whole table instead of an index, and a large backlog would
    take quadratic time.
    """
    for kind in KINDS:
        (changed, known) = fetch_one(
            """SELECT n_mod_since_analyze, n_live_tup FROM pg_stat_user_tables
                WHERE relid = %s::regclass""",
            [kind.event],
        )
        if changed > WORTH_ANALYZING and changed * 10 > known:
            run_sql(sql.SQL("ANALYZE {}").format(sql.Identifier(kind.event)))


def apply_edits(step: RunStep, company: Company, kind: Kind) -> int:
    """Apply one chunk of events that name a customer HQ knows. Returns how many events.

    An edit that knows only the GUID lands on the account the GUID became.
    """
    with step.chunk():
        lock_until_commit(f"accounts:{company.pk}")
        claimed = claim_named(company, kind)
        if claimed:
            failed = fail_mismatches(kind)
            step.add(failed=failed, updated=bump_versions(company))
            if kind is CUSTOMER:
                update_customers(step, company)
            else:
                demote_primaries(kind)
                write_children(step, company, kind, BY_EVENT)
        run_sql("DROP TABLE claimed")
    return claimed


def claim_named(company: Company, kind: Kind) -> int:
    """Table claimed: pending events whose customer is known, by GUID or by account number."""
    return run_sql(
        sql.SQL(
            """CREATE TEMP TABLE claimed ON COMMIT DROP AS
               SELECT s.event_id, coalesce(m.customer_id, k.id) AS customer_id,
                      m.customer_id <> k.id AS is_mismatch, 0::bigint AS hq_version
                 FROM {event} s
                 LEFT JOIN guid_map m ON m.async_account = s.async_account
                 LEFT JOIN customer k
                        ON k.company_id = %(company)s AND k.account_number = s.account_number
                WHERE s.company_id = %(company)s AND s.status = 'pending'
                  AND coalesce(m.customer_id, k.id) IS NOT NULL
                ORDER BY s.database_id, s.generation, s.replication_counter
                LIMIT %(limit)s"""
        ).format(event=sql.Identifier(kind.event)),
        {"company": company.pk, "limit": CUSTOMERS},
    )


def fail_mismatches(kind: Kind) -> int:
    """Fail events whose GUID and account number name two customers. Returns how many."""
    failed = run_sql(
        sql.SQL(
            """UPDATE {event} s SET status = 'failed', reason = 'identity_mismatch',
                                    field = 'account_number'
                 FROM claimed c WHERE s.event_id = c.event_id AND c.is_mismatch"""
        ).format(event=sql.Identifier(kind.event))
    )
    if failed:
        run_sql("DELETE FROM claimed WHERE is_mismatch")
    return failed


def bump_versions(company: Company) -> int:
    """Raise the claimed customers' versions and owe them to all databases. Returns customers."""
    run_sql(
        """WITH bumped AS (
             UPDATE customer SET hq_version = hq_version + 1, modified_at = now()
              WHERE id IN (SELECT customer_id FROM claimed) RETURNING id, hq_version)
           UPDATE claimed SET hq_version = bumped.hq_version
             FROM bumped WHERE bumped.id = claimed.customer_id"""
    )
    run_sql(
        """UPDATE delivery d SET version = c.hq_version
             FROM (SELECT DISTINCT customer_id, hq_version FROM claimed) c, channel_database b,
                  channel h
            WHERE d.database_id = b.id AND b.channel_id = h.id AND h.company_id = %s
              AND d.customer_id = c.customer_id""",
        [company.pk],
    )
    (customers,) = fetch_one("SELECT count(DISTINCT customer_id) FROM claimed")
    return int(customers)


def update_customers(step: RunStep, company: Company) -> None:
    """Apply claimed edits and deactivations of customers; what came too late is superseded."""
    run_sql(
        sql.SQL(
            """WITH {newest},
             fresh AS (
               SELECT n.*, n.last_at AS event_at, n.last_database AS event_database,
                      n.last_generation AS event_generation, n.last_counter AS event_counter
                 FROM newest n),
             written AS (
               UPDATE customer old
                  SET {columns}, is_active = f.last_operation <> 'deactivate', {latest}
                 FROM fresh f
                WHERE old.id = f.customer_id AND {newer}
               RETURNING old.id)
             SELECT count(*) FROM written"""
        ).format(
            newest=newest(CUSTOMER, BY_EVENT),
            columns=sql.SQL(", ").join(map(changed_column, CUSTOMER.columns)),
            latest=sql.SQL(", ").join(
                sql.SQL("{0} = f.{0}").format(sql.Identifier(column)) for column in LATEST
            ),
            newer=newer("old", "f"),
        ),
        {"company": company.pk, "run": str(step.run_id)},
    )
    run_sql(
        """UPDATE async_customer s SET status = 'superseded'
             FROM customer k
            WHERE s.applied_at = now() AND s.status = 'applied' AND k.id = s.customer_id
              AND s.customer_id IN (SELECT customer_id FROM claimed)
              AND NOT EXISTS (SELECT FROM async_customer mine
                               WHERE mine.customer_id = k.id AND mine.applied_at = now()
                                 AND mine.database_id = k.event_database
                                 AND mine.generation = k.event_generation
                                 AND mine.replication_counter = k.event_counter)"""
    )


def changed_column(column: str) -> sql.Composable:
    """A bare deactivation keeps what is there; an inherited column is never emptied."""
    new = "coalesce(nullif(f.{0}, ''), old.{0})" if column in INHERITED else "f.{0}"
    return sql.SQL(
        "{0} = CASE WHEN f.operation = 'deactivate' THEN old.{0} ELSE " + new + " END"
    ).format(sql.Identifier(column))


def supersede_quarantined(company: Company, kind: Kind) -> int:
    """Close quarantined rows that a later, applied event of the same entity replaces."""
    same = [
        sql.SQL("convert_from(q.raw, 'UTF8')::jsonb ->> {} = s.{}::text").format(
            sql.Literal(column), sql.Identifier(column)
        )
        for column in kind.key
    ]
    return run_sql(
        sql.SQL(
            """UPDATE quarantine q SET status = 'superseded'
                 FROM guid_map m JOIN {event} s ON s.customer_id = m.customer_id
                WHERE q.status = 'open' AND q.table = %(table)s
                  AND m.async_account = q.async_account AND m.company_id = %(company)s
                  AND s.database_id = q.database_id AND s.status IN ('applied', 'superseded')
                  AND s.replication_counter > q.row_key::bigint AND {same}"""
        ).format(
            event=sql.Identifier(kind.event), same=sql.SQL(" AND ").join(same or [sql.SQL("true")])
        ),
        {"table": kind.event, "company": company.pk},
    )


def explain_waiting(company: Company, kind: Kind) -> int:
    """Write the reason on what could not be applied yet. Returns how many events wait."""
    run_sql(
        sql.SQL(
            """UPDATE {event} s SET reason = why.reason
                 FROM (SELECT w.event_id,
                              CASE WHEN w.account_number IS NOT NULL THEN 'account_unknown'
                                   WHEN EXISTS (SELECT FROM async_customer p
                                                 WHERE p.company_id = %(company)s
                                                   AND p.async_account = w.async_account
                                                   AND p.status = 'failed')
                                     OR EXISTS (SELECT FROM quarantine q
                                                 WHERE q.async_account = w.async_account
                                                   AND q.table = 'async_customer'
                                                   AND q.status = 'open')
                                   THEN 'parent_failed'
                                   ELSE 'parent_missing' END AS reason
                         FROM {event} w
                        WHERE w.company_id = %(company)s AND w.status = 'pending') why
                WHERE s.event_id = why.event_id AND s.reason IS DISTINCT FROM why.reason"""
        ).format(event=sql.Identifier(kind.event)),
        {"company": company.pk},
    )
    (waiting,) = fetch_one(
        sql.SQL("SELECT count(*) FROM {} WHERE company_id = %s AND status = 'pending'").format(
            sql.Identifier(kind.event)
        ),
        [company.pk],
    )
    return int(waiting)
