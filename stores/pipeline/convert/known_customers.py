"""Events that name a customer HQ knows: edits of it and what is added to it.

Convert applies all that wait, Synchronize orders those that an order needs now; both come here.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple
from uuid import UUID

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.retry import bisect_rows
from stores.hqdb.sql import fetch, fetch_one, listed, lock_until_commit, run_sql
from stores.hqdb.work_table import WorkTable, query_table
from stores.models import Company
from stores.pipeline.changes import reserve_changes
from stores.pipeline.chunk_sizes import CUSTOMERS_PER_CHUNK
from stores.pipeline.convert.conflicts import record_conflicts
from stores.pipeline.convert.merge import (
    BY_EVENT,
    demote_primaries,
    merge_children_of_known,
    newest_events,
)
from stores.pipeline.convert.removals import restore_removals
from stores.pipeline.convert.replay import replay_events
from stores.pipeline.events.kinds import CUSTOMER, INHERITED_COLUMNS, EventKind
from stores.pipeline.guids import is_foreign
from stores.pipeline.refused_rows import fail_events

CLAIM_EVENTS = load(__file__, "claim_events")
UPDATE_CUSTOMERS = load(__file__, "update_customers")
BUMP_VERSIONS = load(__file__, "bump_versions")


class Applied(NamedTuple):
    """How many events were claimed, how many of them failed, and how many customers changed."""

    events: int
    failed: int
    updated: int


def apply_to_known_customers(
    company: Company,
    kind: EventKind,
    *,
    run_key: str | None,
    only: Sequence[UUID] | None = None,
    refused_before: dict[UUID, str] | None = None,
) -> Applied:
    """Apply pending events that name a known customer, or of these only some.

    Effects: customers or children, change numbers, staging; in the caller's transaction.
    An event of which the database refuses what comes of it becomes failed; if it refuses even that,
    the event is added to `refused_before`, with what the database said. Events in it are skipped.
    """
    lock_until_commit(f"accounts:{company.pk}")
    refused_before = {} if refused_before is None else refused_before
    passed = list(refused_before)

    def apply_events(events: Sequence[UUID] | None) -> Applied:
        selected = only if events is None else events
        return apply_claimed(company, kind, run_key=run_key, only=selected, passed=passed)

    def events() -> list[UUID]:
        with claimed_events(company, kind, only, passed) as claimed:
            query = sql.SQL("SELECT event_id FROM {claimed}").format(claimed=claimed.identifier)
            return [event for (event,) in fetch(query)]

    done, refused = bisect_rows(apply_events, events)
    if refused:
        refused_before |= fail_events(kind, "event_id", company.pk, list(refused))
    return Applied(
        events=sum(part.events for part in done) + len(refused),
        failed=sum(part.failed for part in done) + len(refused),
        updated=sum(part.updated for part in done),
    )


def apply_claimed(
    company: Company,
    kind: EventKind,
    *,
    run_key: str | None,
    only: Sequence[UUID] | None = None,
    passed: Sequence[UUID] = (),
) -> Applied:
    """Apply pending events that name a known customer, all or none.

    Effects: those of apply_to_known_customers. Errors: the database's own.
    """
    lock_until_commit(f"accounts:{company.pk}")
    with claimed_events(company, kind, only, passed) as claimed:
        if not claimed.rows:
            return Applied(events=0, failed=0, updated=0)
        failed = fail_disallowed(kind, claimed)
        updated = bump_versions(company, claimed)
        if kind is CUSTOMER:
            is_doubtful = update_customers(company, claimed, run_key)
        else:
            demote_primaries(kind, claimed)
            is_doubtful = merge_children_of_known(company, kind, claimed, run_key)
        if is_doubtful:
            replay_events(kind, claimed)
        restore_removals(kind, claimed)
        record_conflicts(kind, claimed)
        return Applied(claimed.rows, failed, updated)


@contextmanager
def claimed_events(
    company: Company, kind: EventKind, only: Sequence[UUID] | None, passed: Sequence[UUID]
) -> Iterator[WorkTable]:
    """Pending events whose customer is known, by GUID or by account number.

    Shape: event_id, customer_id, hq_version, refusal. `refusal` is the reason for which one may not
    be applied.
    """
    values = {
        "company": company.pk,
        "limit": CUSTOMERS_PER_CHUNK,
        "only": None if only is None else list(map(str, only)),
        "passed": list(map(str, passed)),
    }
    with query_table("claimed_event", claim_statement(kind), values) as claimed:
        yield claimed


def claim_statement(kind: EventKind) -> sql.Composed:
    return CLAIM_EVENTS.format(
        event=sql.Identifier(kind.event), is_foreign=is_foreign("s", channel=("b", "channel_id"))
    )


def fail_disallowed(kind: EventKind, claimed: WorkTable) -> int:
    """Fail claimed events that name somebody they may not, or two customers. Returns how many."""
    failed = run_sql(
        sql.SQL(
            """UPDATE {event} s SET status = 'failed', reason = c.refusal,
                      field = CASE c.refusal WHEN 'identity_mismatch' THEN 'account_number'
                                             ELSE 'async_account' END
                 FROM {claimed} c WHERE s.event_id = c.event_id AND c.refusal IS NOT NULL"""
        ).format(event=sql.Identifier(kind.event), claimed=claimed.identifier)
    )
    if failed:
        run_sql(
            sql.SQL("DELETE FROM {claimed} WHERE refusal IS NOT NULL").format(
                claimed=claimed.identifier
            )
        )
    return failed


def bump_versions(company: Company, claimed: WorkTable) -> int:
    """Raise the claimed customers' versions, each by a new change. Returns customers."""
    (customers,) = fetch_one(
        sql.SQL("SELECT count(DISTINCT customer_id) FROM {claimed}").format(
            claimed=claimed.identifier
        )
    )
    run_sql(
        BUMP_VERSIONS.format(claimed=claimed.identifier),
        {"first_change": reserve_changes(company.pk, int(customers))},
    )
    return int(customers)


def update_customers(company: Company, claimed: WorkTable, run_key: str | None) -> bool:
    """Apply claimed edits and deactivations of customers; what came too late is superseded.

    Says whether something was, or several events were about one customer.
    """
    events, customers = fetch_one(
        update_statement(claimed), {"company": company.pk, "run": run_key}
    )
    superseded = run_sql(
        sql.SQL(
            """UPDATE async_customer s SET status = 'superseded'
                 FROM customer k
                WHERE s.applied_at = now() AND s.status = 'applied' AND k.id = s.customer_id
                  AND s.customer_id IN (SELECT customer_id FROM {claimed})
                  AND NOT EXISTS (SELECT FROM async_customer mine
                                   WHERE mine.customer_id = k.id AND mine.applied_at = now()
                                     AND coalesce(mine.database_id, 0) = k.event_database
                                     AND mine.generation = k.event_generation
                                     AND mine.replication_counter = k.event_counter)"""
        ).format(claimed=claimed.identifier)
    )
    return bool(superseded or events > customers)


def update_statement(claimed: WorkTable) -> sql.Composed:
    return UPDATE_CUSTOMERS.format(
        newest_events=newest_events(CUSTOMER, claimed, BY_EVENT),
        new_values=listed(map(merged_column, CUSTOMER.columns)),
    )


def merged_column(column: str) -> sql.Composable:
    """A bare deactivation keeps what is there; an inherited column is never emptied."""
    new = "coalesce(nullif(f.{0}, ''), old.{0})" if column in INHERITED_COLUMNS else "f.{0}"
    return sql.SQL(
        "{0} = CASE WHEN f.operation = 'deactivate' THEN old.{0} ELSE " + new + " END"
    ).format(sql.Identifier(column))
