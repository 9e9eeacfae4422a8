"""Synchronize customers and business partners from async mode: staging -> HQ customers."""

from functools import partial
from uuid import UUID

from psycopg2 import sql

from stores.crash import crash_here
from stores.models import Company, RunStep
from stores.pipeline import journal
from stores.pipeline.accounts import open_accounts, retry_exhausted
from stores.pipeline.balance import count_balance
from stores.pipeline.bulk import (
    by_index,
    fetch_one,
    in_chunks,
    names,
    run_sql,
)
from stores.pipeline.edits import apply_named
from stores.pipeline.issuing import require_numbers
from stores.pipeline.kinds import KINDS, Kind

# Below this the planner's old figures serve as well, and so they do of a table not much smaller.
WORTH_ANALYZING = 1_000
GREW = 1.1
FOUND_BY = (
    "event_id",
    "company_id",
    "async_account",
    "account_number",
    "status",
    "customer_id",
)
# Counts that say that rows have gone on, and the balance is another one.
MOVES = ("converted", "updated", "linked", "failed")


def convert_customers(step: RunStep) -> None:
    """Give each staged customer of the company its account, then apply edits of known ones.

    Effects: see open_accounts; a chunk a transaction.
    """
    company = step.its_company
    if not step.is_dry:
        require_numbers()
    with step.chunk():
        tell_the_planner()
        retry_exhausted(company)
    open_all(step, company)
    for kind in KINDS:
        in_chunks(partial(apply_edits, step, company, kind))
    with step.chunk(), by_index():
        for kind in KINDS:
            supersede_quarantined(company, kind)
        step.add(waiting=sum(explain_waiting(company, kind) for kind in KINDS))
        crash_here("convert:before_last_commit")
    with step.chunk():
        count_balance(company, is_moved=any(step.counts.get(word) for word in MOVES))


def open_all(step: RunStep, company: Company) -> None:
    """Give each staged customer of the company its account, in the order of the GUIDs."""
    beyond: UUID | None = None

    def open_some() -> bool:
        nonlocal beyond
        with step.chunk():
            opened = open_accounts(step, company, beyond=beyond)
            step.add(converted=opened.converted, failed=opened.failed)
            crash_here("convert:before_commit")
        crash_here("convert:after_commit")
        if opened.converted and not step.is_dry:
            journal.keep()
        beyond = opened.last or beyond
        return opened.last is not None

    in_chunks(open_some)


def tell_the_planner() -> None:
    """Refresh the statistics of staging after a large upload.

    With old ones a chunk could join its customers the wrong way round, and a large backlog would
    take quadratic time. Only of the columns by which conversion finds events: a third of the time.
    """
    for kind in KINDS:
        (known, rows) = fetch_one(
            """SELECT greatest(c.reltuples, 0), s.n_live_tup
                 FROM pg_class c JOIN pg_stat_user_tables s ON s.relid = c.oid
                WHERE c.oid = %s::regclass""",
            [kind.event],
        )
        if rows > WORTH_ANALYZING and rows > known * GREW:
            run_sql(sql.SQL("ANALYZE {} ({})").format(sql.Identifier(kind.event), names(FOUND_BY)))


def apply_edits(step: RunStep, company: Company, kind: Kind) -> bool:
    """Apply one chunk of events that name a customer HQ knows. Says whether there were any.

    An edit that knows only the GUID lands on the account the GUID became.
    """
    with step.chunk(), by_index():
        claimed = apply_named(step, company, kind)
        crash_here("convert:before_edits_commit")
    crash_here("convert:after_edits_commit")
    return claimed > 0


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
            """UPDATE quarantine q
                  SET status = 'superseded', settled_at = now(), became = s.event_id,
                      settled_because = 'A later event of the same database replaced it.'
                 FROM guid_map m JOIN {event} s ON s.customer_id = m.customer_id
                WHERE q.status = 'open' AND q.table = %(table)s
                  AND m.async_account = q.async_account AND m.company_id = %(company)s
                  AND s.database_id = q.database_id AND s.status IN ('applied', 'superseded')
                  AND (s.generation, s.replication_counter) > (q.generation, q.row_key::bigint)
                  AND {same}"""
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
