"""Events that name a customer HQ knows: edits of it and what is added to it.

Convert applies all that wait, Synchronize orders those that an order needs now; both come here.
"""

from collections.abc import Sequence
from uuid import UUID

from psycopg2 import sql

from stores.hqdb.retry import bisect_rows
from stores.hqdb.sql import fetch, fetch_one, lock_until_commit, run_sql
from stores.models import Company, RunStep
from stores.pipeline.chunk_sizes import CUSTOMERS_PER_CHUNK
from stores.pipeline.convert.conflicts import record_conflicts
from stores.pipeline.convert.merge import (
    BY_EVENT,
    LATEST_EVENT_COLUMNS,
    demote_primaries,
    is_newer,
    merge_children,
    newest_events,
)
from stores.pipeline.convert.removals import restore_removals
from stores.pipeline.convert.replay import replay_events
from stores.pipeline.events.kinds import CUSTOMER, INHERITED_COLUMNS, EventKind
from stores.pipeline.guids import is_foreign
from stores.pipeline.refused_rows import fail_events


def apply_to_known_customers(
    step: RunStep,
    company: Company,
    kind: EventKind,
    *,
    only: Sequence[UUID] | None = None,
    refused_before: dict[UUID, str] | None = None,
) -> int:
    """Apply pending events that name a known customer, or of these only some. Returns events.

    Effects: customers or children, deliveries, staging; in the caller's transaction.
    An event of which the database refuses what comes of it becomes failed; if it refuses even that,
    the event is added to `refused_before`, with what the database said. Events in it are skipped.
    """
    lock_until_commit(f"accounts:{company.pk}")
    refused_before = {} if refused_before is None else refused_before
    passed = list(refused_before)

    def apply_events(events: Sequence[UUID] | None) -> int:
        with step.counts_restored():
            selected = only if events is None else events
            return apply_claimed(step, company, kind, only=selected, passed=passed)

    def events() -> list[UUID]:
        claim_known(company, kind, only, passed)
        claimed = [event for (event,) in fetch("SELECT event_id FROM claimed")]
        run_sql("DROP TABLE claimed")
        return claimed

    done, refused = bisect_rows(apply_events, events)
    if refused:
        refused_before |= fail_events(kind, "event_id", company.pk, list(refused))
        step.add(failed=len(refused))
    return sum(done) + len(refused)


def apply_claimed(
    step: RunStep,
    company: Company,
    kind: EventKind,
    *,
    only: Sequence[UUID] | None = None,
    passed: Sequence[UUID] = (),
) -> int:
    """Apply pending events that name a known customer, all or none. Returns events.

    Effects: those of apply_to_known_customers. Errors: the database's own.
    """
    lock_until_commit(f"accounts:{company.pk}")
    claimed = claim_known(company, kind, only, passed)
    if claimed:
        failed = fail_disallowed(kind)
        step.add(failed=failed, updated=bump_versions(company))
        if kind is CUSTOMER:
            is_doubtful = update_customers(step, company)
        else:
            demote_primaries(kind)
            is_doubtful = merge_children(step, company, kind, BY_EVENT)
        if is_doubtful:
            replay_events(kind)
        restore_removals(kind)
        record_conflicts(kind)
    run_sql("DROP TABLE claimed")
    return claimed


def claim_known(
    company: Company, kind: EventKind, only: Sequence[UUID] | None, passed: Sequence[UUID]
) -> int:
    """Table claimed: pending events whose customer is known, by GUID or by account number.

    `refusal` is the reason for which one may not be applied.
    """
    return run_sql(
        sql.SQL(
            """CREATE TEMP TABLE claimed ON COMMIT DROP AS
               SELECT s.event_id, coalesce(m.customer_id, k.id) AS customer_id,
                      0::bigint AS hq_version,
                      CASE WHEN m.company_id <> s.company_id THEN 'company_mismatch'
                           WHEN {is_foreign} THEN 'guid_conflict'
                           WHEN m.customer_id <> k.id THEN 'identity_mismatch' END AS refusal
                 FROM {event} s
                 LEFT JOIN channel_database b ON b.id = s.database_id
                 LEFT JOIN guid_map m ON m.async_account = s.async_account
                 LEFT JOIN customer k
                        ON k.company_id = %(company)s AND k.account_number = s.account_number
                WHERE s.company_id = %(company)s AND s.status = 'pending'
                  AND coalesce(m.customer_id, k.id) IS NOT NULL {only} {others}
                ORDER BY s.database_id, s.generation, s.replication_counter
                LIMIT %(limit)s"""
        ).format(
            event=sql.Identifier(kind.event),
            is_foreign=is_foreign("s", channel=("b", "channel_id")),
            only=sql.SQL("AND s.event_id = ANY(%(only)s::uuid[])" if only is not None else ""),
            others=sql.SQL("AND s.event_id <> ALL(%(passed)s::uuid[])" if passed else ""),
        ),
        {
            "company": company.pk,
            "limit": CUSTOMERS_PER_CHUNK,
            "only": [str(event) for event in only or ()],
            "passed": list(map(str, passed)),
        },
    )


def fail_disallowed(kind: EventKind) -> int:
    """Fail claimed events that name somebody they may not, or two customers. Returns how many."""
    failed = run_sql(
        sql.SQL(
            """UPDATE {event} s SET status = 'failed', reason = c.refusal,
                      field = CASE c.refusal WHEN 'identity_mismatch' THEN 'account_number'
                                             ELSE 'async_account' END
                 FROM claimed c WHERE s.event_id = c.event_id AND c.refusal IS NOT NULL"""
        ).format(event=sql.Identifier(kind.event))
    )
    if failed:
        run_sql("DELETE FROM claimed WHERE refusal IS NOT NULL")
    return failed


def bump_versions(company: Company) -> int:
    """Raise the claimed customers' versions, to be delivered everywhere. Returns customers."""
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


def update_customers(step: RunStep, company: Company) -> bool:
    """Apply claimed edits and deactivations of customers; what came too late is superseded.

    Says whether something was, or several events were about one customer.
    """
    events, customers = fetch_one(
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
             SELECT (SELECT count(*) FROM taken), (SELECT count(*) FROM fresh)"""
        ).format(
            newest=newest_events(CUSTOMER, BY_EVENT),
            columns=sql.SQL(", ").join(map(merged_column, CUSTOMER.columns)),
            latest=sql.SQL(", ").join(
                sql.SQL("{0} = f.{0}").format(sql.Identifier(column))
                for column in LATEST_EVENT_COLUMNS
            ),
            newer=is_newer("old", "f"),
        ),
        {"company": company.pk, "run": step.run_key},
    )
    superseded = run_sql(
        """UPDATE async_customer s SET status = 'superseded'
             FROM customer k
            WHERE s.applied_at = now() AND s.status = 'applied' AND k.id = s.customer_id
              AND s.customer_id IN (SELECT customer_id FROM claimed)
              AND NOT EXISTS (SELECT FROM async_customer mine
                               WHERE mine.customer_id = k.id AND mine.applied_at = now()
                                 AND coalesce(mine.database_id, 0) = k.event_database
                                 AND mine.generation = k.event_generation
                                 AND mine.replication_counter = k.event_counter)"""
    )
    return bool(superseded or events > customers)


def merged_column(column: str) -> sql.Composable:
    """A bare deactivation keeps what is there; an inherited column is never emptied."""
    new = "coalesce(nullif(f.{0}, ''), old.{0})" if column in INHERITED_COLUMNS else "f.{0}"
    return sql.SQL(
        "{0} = CASE WHEN f.operation = 'deactivate' THEN old.{0} ELSE " + new + " END"
    ).format(sql.Identifier(column))
