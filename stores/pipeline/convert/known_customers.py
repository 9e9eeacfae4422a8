"""Events that name a customer HQ knew before: edits of it and what is added to it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import fetch_one, listed, run_sql
from stores.hqdb.work_table import WorkTable, query_table
from stores.models import Company
from stores.pipeline.changes import reserve_changes
from stores.pipeline.convert.chunk import Chunk, applied_history
from stores.pipeline.convert.conflicts import record_conflicts
from stores.pipeline.convert.merge import (
    Claim,
    claim_of_known,
    claim_of_new,
    demote_primaries,
    merge_children_of_known,
    newest_events,
)
from stores.pipeline.convert.open_events import open_claimed
from stores.pipeline.convert.removals import restore_removals
from stores.pipeline.convert.replay import replay_known
from stores.pipeline.events.kinds import CUSTOMER, INHERITED_COLUMNS, EventKind
from stores.pipeline.guids import is_foreign

CLAIM_EVENTS = load(__file__, "claim_events")
UPDATE_CUSTOMERS = load(__file__, "update_customers")
SETTLE_SUPERSEDED = load(__file__, "settle_superseded")
BUMP_VERSIONS = load(__file__, "bump_versions")


@dataclass(frozen=True)
class ClaimedEvents:
    """Events that can be applied, how many there are, and how many others failed.

    Shape of `table`: event_id, customer_id, hq_version, and what an open event has.
    """

    table: WorkTable
    count: int
    failed: int


@contextmanager
def claimed_events(
    chunk: Chunk, kind: EventKind, new_customers: WorkTable, *, contested: Sequence[str]
) -> Iterator[ClaimedEvents]:
    """The events of the chunk that are not those of its new customers, and can be applied.

    The others are opened. New customers do not get `contested` ids with their account. Effects:
    open events, in the caller's transaction.
    """
    values = chunk.values | {"contested": list(contested)}
    statement = claim_statement(chunk, kind, new_customers)
    with query_table("claimed_event", statement, values) as claimed:
        opened = open_claimed(chunk, kind, claimed)
        yield ClaimedEvents(claimed, claimed.rows - opened.total, opened.failed)


def claim_statement(chunk: Chunk, kind: EventKind, new_customers: WorkTable) -> sql.Composed:
    return CLAIM_EVENTS.format(
        events=chunk.events(kind),
        new_customers=new_customers,
        is_of_new=claim_of_new(chunk, kind, new_customers).is_claimed,
        is_foreign=is_foreign("event", channel=("channel_database", "channel_id")),
    )


def apply_to_known_customers(chunk: Chunk, kind: EventKind, claimed: WorkTable) -> int:
    """Apply claimed events to the customers that they name. Returns how many customers.

    Effects: customers or children, change numbers, and what is settled; in the caller's
    transaction.
    """
    updated = bump_versions(chunk.company, claimed)
    claim = claim_of_known(chunk, kind, claimed)
    with applied_history(kind, claimed) as history:
        if kind is CUSTOMER:
            needs_replay = update_customers(claim)
        else:
            demote_primaries(claim)
            needs_replay = merge_children_of_known(claim, history)
        if needs_replay:
            replay_known(claim, history)
        restore_removals(kind, claimed, history)
        record_conflicts(kind, claimed, history)
    return updated


def bump_versions(company: Company, claimed: WorkTable) -> int:
    """Raise the claimed customers' versions, each by a new change. Returns customers."""
    (customers,) = fetch_one("SELECT count(DISTINCT customer_id) FROM {claimed}", claimed=claimed)
    run_sql(
        BUMP_VERSIONS,
        {"first_change": reserve_changes(company.pk, int(customers))},
        claimed=claimed,
    )
    return int(customers)


def update_customers(claim: Claim) -> bool:
    """Apply claimed edits and deactivations of customers; what came too late is superseded.

    Says whether a replay is needed: something was superseded, or a customer had several events.
    """
    events, customers = fetch_one(update_statement(claim), claim.values)
    superseded = run_sql(SETTLE_SUPERSEDED, claim.values, claimed=claim.claimed)
    return bool(superseded or events > customers)


def update_statement(claim: Claim) -> sql.Composed:
    return UPDATE_CUSTOMERS.format(
        newest_events=newest_events(claim),
        new_values=listed(map(merged_column, CUSTOMER.columns)),
    )


def merged_column(column: str) -> sql.Composable:
    """The assignment of a column of customer `old` in update_customers.sql.

    A bare deactivation keeps what is there; an inherited column is never emptied.
    """
    new = (
        "coalesce(nullif(newest.{0}, ''), old.{0})" if column in INHERITED_COLUMNS else "newest.{0}"
    )
    return sql.SQL(
        "{0} = CASE WHEN newest.operation = 'deactivate' THEN old.{0} ELSE " + new + " END"
    ).format(sql.Identifier(column))
