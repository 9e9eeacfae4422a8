"""Synchronize customers and channel requests: staging -> HQ customers."""

from collections.abc import Sequence
from functools import partial
from uuid import UUID

from psycopg2 import sql

from stores.failpoints import failpoint
from stores.hqdb.files import load
from stores.hqdb.retry import bisect_rows, in_chunks
from stores.hqdb.sql import fetch, fetch_one, identifiers, prefer_index_scans, run_sql
from stores.models import Company, RunStep
from stores.pipeline import number_journal
from stores.pipeline.convert.accounts import create_accounts, retry_exhausted
from stores.pipeline.convert.balance import count_balance
from stores.pipeline.convert.known_customers import apply_to_known_customers
from stores.pipeline.events.kinds import ADDRESS, CONTACT, EVENT_KINDS, EventKind
from stores.pipeline.fields_to_correct import settle_fields
from stores.pipeline.issuing import require_numbers
from stores.pipeline.number_journal import JournalUnusable
from stores.pipeline.refused_rows import report_refused_rows

SUPERSEDE_QUARANTINED = load(__file__, "supersede_quarantined")
# Below this the planner's old figures serve as well, and so they do of a table not much smaller.
MIN_ROWS_TO_ANALYZE = 1_000
GROWTH_TO_ANALYZE = 1.1
LOOKUP_COLUMNS = (
    "event_id",
    "company_id",
    "async_account",
    "account_number",
    "status",
    "customer_id",
)
# Counts that say that rows have gone on, and the balance is another one.
MOVING_COUNTS = ("converted", "updated", "linked", "failed")


def convert_customers(step: RunStep, company: Company) -> None:
    """Give each staged customer of the company its account, then apply edits of known ones.

    Edits need no number, so they go on while the number journal cannot be written. Effects: see
    create_accounts; a chunk a transaction. Errors: JournalUnusable at the end.
    """
    unusable: JournalUnusable | None = None
    with step.chunk():
        analyze_staging()
        retry_exhausted(company)
    refused: dict[UUID, str] = {}
    try:
        if not step.is_dry:
            require_numbers()
        create_all_accounts(step, company, refused)
    except JournalUnusable as error:
        unusable = error
    for kind in EVENT_KINDS:
        in_chunks(partial(apply_edits, step, company, kind, refused))
    with step.chunk(), prefer_index_scans():
        unclosed: dict[int, str] = {}
        for kind in EVENT_KINDS:
            unclosed |= supersede_quarantined(company, kind)
        step.add(waiting=sum(write_wait_reasons(company, kind, refused) for kind in EVENT_KINDS))
        report_refused_rows(f"events of {company}", refused)
        report_refused_rows(f"quarantine of {company}", unclosed)
        failpoint("convert:before_last_commit")
    with step.chunk():
        settle_fields(company)
        count_balance(company, is_moved=any(step.counts.get(word) for word in MOVING_COUNTS))
    if unusable:
        raise unusable


def create_all_accounts(step: RunStep, company: Company, refused: dict[UUID, str]) -> None:
    """Give each staged customer its account; those refused are added with the database's words."""
    beyond: UUID | None = None
    contested = find_contested_ids(company)

    def create_some() -> bool:
        nonlocal beyond
        with step.chunk():
            created = create_accounts(step, company, beyond=beyond, contested=contested)
            step.add(converted=created.converted, failed=created.failed)
            failpoint("convert:before_commit")
        failpoint("convert:after_commit")
        refused.update(created.refused)
        if created.converted and not step.is_dry:
            number_journal.append_missing()
        beyond = created.last or beyond
        return created.last is not None

    in_chunks(create_some)


def find_contested_ids(company: Company) -> dict[str, list[UUID]]:
    """Ids of addresses and contacts that several customers name in events that wait, by kind."""
    return {
        kind.name: [
            key
            for (key,) in fetch(
                sql.SQL(
                    """SELECT {key} FROM {event} WHERE company_id = %s AND status = 'pending'
                        GROUP BY 1 HAVING min(async_account::text) <> max(async_account::text)
                            OR count(async_account) BETWEEN 1 AND count(*) - 1"""
                ).format(key=sql.Identifier(kind.key[0]), event=sql.Identifier(kind.event)),
                [company.pk],
            )
        ]
        for kind in (ADDRESS, CONTACT)
    }


def analyze_staging() -> None:
    """Refresh the statistics of staging after a large upload, of the columns that find events.

    With old ones a large backlog could take quadratic time.
    """
    for kind in EVENT_KINDS:
        (known, rows) = fetch_one(
            """SELECT greatest(c.reltuples, 0), s.n_live_tup
                 FROM pg_class c JOIN pg_stat_user_tables s ON s.relid = c.oid
                WHERE c.oid = %s::regclass""",
            [kind.event],
        )
        if rows > MIN_ROWS_TO_ANALYZE and rows > known * GROWTH_TO_ANALYZE:
            run_sql(
                sql.SQL("ANALYZE {} ({})").format(
                    sql.Identifier(kind.event), identifiers(LOOKUP_COLUMNS)
                )
            )


def apply_edits(step: RunStep, company: Company, kind: EventKind, refused: dict[UUID, str]) -> bool:
    """Apply one chunk of events that name a customer HQ knows. Says whether there were any."""
    with step.chunk(), prefer_index_scans():
        applied = apply_to_known_customers(
            company, kind, run_key=step.run_key, refused_before=refused
        )
        step.add(failed=applied.failed, updated=applied.updated)
        failpoint("convert:before_edits_commit")
    failpoint("convert:after_edits_commit")
    return applied.events > 0


def supersede_quarantined(company: Company, kind: EventKind) -> dict[int, str]:
    """Close quarantined rows that a later, applied event replaces. Returns those that stay open."""
    statement = supersede_statement(kind)
    values = {"table": kind.event, "company": company.pk}

    def close(numbers: Sequence[int] | None) -> int:
        return run_sql(statement, {**values, "some": None if numbers is None else list(numbers)})

    def open_numbers() -> list[int]:
        rows = fetch(
            """SELECT id FROM quarantine
                WHERE status = 'open' AND "table" = %(table)s ORDER BY 1""",
            values,
        )
        return [row for (row,) in rows]

    _, refused = bisect_rows(close, open_numbers)
    return refused


def supersede_statement(kind: EventKind) -> sql.Composed:
    same = [
        sql.SQL("convert_from(q.raw, 'UTF8')::jsonb ->> {} = s.{}::text").format(
            sql.Literal(column), sql.Identifier(column)
        )
        for column in kind.key
    ]
    return SUPERSEDE_QUARANTINED.format(
        event=sql.Identifier(kind.event),
        name=sql.Literal(kind.event),
        is_same=sql.SQL(" AND ").join(same or [sql.SQL("true")]),
    )


def write_wait_reasons(company: Company, kind: EventKind, refused: dict[UUID, str]) -> int:
    """Write the reason on what waits, or add it to `refused`. Returns how many events wait."""
    statement = sql.SQL(
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
                WHERE s.event_id = why.event_id AND s.reason IS DISTINCT FROM why.reason
                  AND (%(some)s::uuid[] IS NULL OR s.event_id = ANY(%(some)s::uuid[]))"""
    ).format(event=sql.Identifier(kind.event))

    def write(keys: Sequence[UUID] | None) -> int:
        chosen = None if keys is None else list(map(str, keys))
        return run_sql(statement, {"company": company.pk, "some": chosen})

    def pending() -> list[UUID]:
        rows = fetch(
            sql.SQL("SELECT event_id FROM {} WHERE company_id = %s AND status = 'pending'").format(
                sql.Identifier(kind.event)
            ),
            [company.pk],
        )
        return [event for (event,) in rows]

    refused |= bisect_rows(write, pending)[1]
    (waiting,) = fetch_one(
        sql.SQL("SELECT count(*) FROM {} WHERE company_id = %s AND status = 'pending'").format(
            sql.Identifier(kind.event)
        ),
        [company.pk],
    )
    return int(waiting)
