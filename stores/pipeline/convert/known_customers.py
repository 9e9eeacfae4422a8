"""Apply the events of customers that HQ knew before a chunk: edits, additions and removals.

An event is *claimed* when its customer has been found. Events are claimed one by one here, since
each may name its customer by a GUID or by an account number. The *history* of the claimed
customers, which is all events that were ever applied to them, decides what an edit means that came
too late, that brings something back, or whose maker did not know of another edit.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import fetch_one, fetch_value, listed, run_sql
from stores.hqdb.work_table import WorkTable, query_table
from stores.models import Company
from stores.pipeline.changes import reserve_changes
from stores.pipeline.convert.chunk import Chunk, applied_history
from stores.pipeline.convert.concurrent_edits import settle_concurrent_edits
from stores.pipeline.convert.merge import (
    Claim,
    claim_of_known,
    claim_of_new,
    demote_primaries,
    merge_children_of_known,
    newest_events,
)
from stores.pipeline.convert.open_events import OpenedCounts, open_claimed
from stores.pipeline.convert.removals import restore_removals
from stores.pipeline.convert.replay import replay_known
from stores.pipeline.events.kinds import CUSTOMER, INHERITED_COLUMNS, EventKind
from stores.pipeline.guids import is_doubtful, is_given

OTHER_EVENTS = load(__file__, "_other_events")
COUNT_OTHERS = load(__file__, "count_others")
CLAIM_EVENTS = load(__file__, "claim_events")
ALLOW_GIVEN = load(__file__, "allow_given")
UPDATE_CUSTOMERS = load(__file__, "update_customers")
SETTLE_SUPERSEDED = load(__file__, "settle_superseded")
BUMP_VERSIONS = load(__file__, "bump_versions")


def apply_to_known_customers(chunk: Chunk, kind: EventKind, claimed: WorkTable) -> int:
    """Apply claimed events to their customers. Returns the number of customers.

    Effects: customers or what belongs to them, change numbers, settled events and conflicts; in the
    caller's transaction.
    """
    # First, because every row that is written shows its customer's new version. An event that comes
    # too late counts as a change, too: the channel that sent it must get what HQ keeps.
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
        settle_concurrent_edits(kind, history)
    return updated


@dataclass(frozen=True)
class ClaimedEvents:
    """Events that can be applied, their number, and how many others failed.

    Shape of `table`: event_id, customer_id, hq_version, and the columns of an open event. It is
    None if there are no events.
    """

    table: WorkTable | None
    count: int
    failed: int


@contextmanager
def claimed_events(
    chunk: Chunk, kind: EventKind, new_customers: WorkTable, *, contested: Sequence[str]
) -> Iterator[ClaimedEvents]:
    """Claim the events of the chunk that are not those of its new customers.

    Several customers name one of the `contested` ids, of an address or contact; its events are
    claimed, whoever their customer is. Those that cannot be applied are opened. Effects: open
    events, in the caller's transaction.
    """
    others = other_events(chunk, kind, new_customers)
    values = chunk.values | {"contested": list(contested)}
    # Many chunks have only new customers.
    if new_customers.rows and not fetch_value(COUNT_OTHERS.format(other_events=others), values):
        yield ClaimedEvents(None, 0, 0)
        return
    with query_table("claimed_event", claim_statement(others), values) as claimed:
        is_any_doubtful, is_any_special = fetch_one(
            """SELECT bool_or(reason = 'guid_conflict'), bool_or(reason IS NOT NULL OR by_guid)
                 FROM {claimed}""",
            claimed=claimed,
        )
        if is_any_doubtful:
            run_sql(allow_statement(kind, claimed))
        opened = open_claimed(chunk, kind, claimed) if is_any_special else OpenedCounts(0, 0)
        yield ClaimedEvents(claimed, claimed.rows - opened.total, opened.failed)


def other_events(chunk: Chunk, kind: EventKind, new_customers: WorkTable) -> sql.Composed:
    """Return the query for the events of the chunk that are not those of its new customers."""
    return OTHER_EVENTS.format(
        events=chunk.events(kind),
        new_customers=new_customers,
        is_of_new=claim_of_new(chunk, kind, new_customers).is_claimed,
    )


def claim_statement(others: sql.Composable) -> sql.Composed:
    return CLAIM_EVENTS.format(
        other_events=others,
        is_doubtful=is_doubtful("event", channel=("channel_database", "channel_id")),
    )


def allow_statement(kind: EventKind, claimed: WorkTable) -> sql.Composed:
    return ALLOW_GIVEN.format(
        claimed=claimed, is_given=is_given("channel_database", "channel_id"), **kind.names
    )


def bump_versions(company: Company, claimed: WorkTable) -> int:
    """Give the claimed customers their next version and change number. Returns their number."""
    count = int(fetch_value("SELECT count(DISTINCT customer_id) FROM {claimed}", claimed=claimed))
    first_change = reserve_changes(company.pk, count)
    run_sql(BUMP_VERSIONS, {"first_change": first_change}, claimed=claimed)
    return count


def update_customers(claim: Claim) -> bool:
    """Apply claimed edits and deactivations of customers; those that came too late are superseded.

    Returns whether a replay is needed: an event was superseded, or a customer has several.
    """
    events, customers = fetch_one(update_statement(claim), claim.values)
    superseded = run_sql(SETTLE_SUPERSEDED, claim.values, claimed=claim.claimed)
    return bool(superseded or events > customers)


def update_statement(claim: Claim) -> sql.Composed:
    new_values = listed(map(merged_column, CUSTOMER.columns))
    return UPDATE_CUSTOMERS.format(newest_events=newest_events(claim), new_values=new_values)


def merged_column(column: str) -> sql.Composable:
    """Return the assignment of a column of customer `old` in update_customers.sql.

    A deactivation without an edit changes no column. An inherited column is never cleared.
    """
    assignment = "{0} = CASE WHEN newest.operation = 'deactivate' THEN old.{0} ELSE newest.{0} END"
    if column in INHERITED_COLUMNS:
        assignment = """{0} = CASE WHEN newest.operation = 'deactivate' THEN old.{0}
                                   ELSE coalesce(nullif(newest.{0}, ''), old.{0}) END"""
    return sql.SQL(assignment).format(sql.Identifier(column))
