"""Open events: those that could not be applied.

An event that cannot be applied is *opened*: it gets a row in `open_event`, with the reason. It
either waits, for instance for a customer that HQ does not know yet, or it has failed. A waiting
event is *due*, and is tried again, once HQ knows the customer or a person has released it. What
ends differently from the rest of its batch has a row in `settled_event`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias
from uuid import UUID

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.retry import bisect_keys, run_for_rows
from stores.hqdb.sql import fetch, fetch_one, fetch_value, run_sql
from stores.hqdb.work_table import WorkTable
from stores.models import Company, NumberSequence
from stores.pipeline.convert.chunk import Chunk
from stores.pipeline.events.kinds import EVENT_KINDS, EventKind

OPENED_EVENTS = load(__file__, "_opened_events")
OPEN_CLAIMED = load(__file__, "open_claimed")
FAIL_EXHAUSTED = load(__file__, "fail_exhausted")
FAIL_REFUSED = load(__file__, "fail_refused")
DUE_EVENTS = load(__file__, "due_events")
TAKE_DUE = load(__file__, "take_due")
TAKE_EVENTS = load(__file__, "take_events")
WRITE_WAIT_REASONS = load(__file__, "write_wait_reasons")

# The name of an event's table, and the id of the event.
EventKey: TypeAlias = tuple[str, UUID]
IS_DUE = """opened.status = 'waiting' AND (
           opened.released_at IS NOT NULL
           OR EXISTS (SELECT FROM guid_map guid WHERE guid.async_account = opened.async_account)
           OR EXISTS (SELECT FROM customer
                       WHERE customer.company_id = opened.company_id
                         AND customer.account_number = opened.account_number))"""
HAS_FAILED_WITHOUT_NUMBER = """opened.status = 'failed'
                  AND opened.reason IN ('sequence_exhausted', 'sequence_missing')"""
WAITS_FOR_NEW_CUSTOMER = sql.SQL(
    """opened.status = 'waiting'
       AND opened.async_account IN (SELECT async_account FROM {new_customers})"""
)
# How many open events a chunk takes up.
MAX_DUE = 10_000


def events_by_kind(events: Iterable[EventKey]) -> Mapping[EventKind, list[UUID]]:
    """Return the ids of events by kind, customers first."""
    ids: dict[str, list[UUID]] = {}
    for table, event in events:
        ids.setdefault(table, []).append(event)
    return {kind: ids[kind.event] for kind in EVENT_KINDS if kind.event in ids}


# -------------------------------------------------------------------- take events up


def has_open_events(company: Company) -> bool:
    """Whether the company has open events at all. Mostly it has none to look through."""
    answer = fetch_value(
        "SELECT EXISTS (SELECT FROM open_event WHERE company_id = %s)", [company.pk]
    )
    return bool(answer)


def take_due(chunk: Chunk, *, skipped: Iterable[UUID]) -> None:
    """Move up to MAX_DUE due events of the company into the chunk, without the skipped ones.

    While there are account numbers, events that failed for want of one are due as well.
    """
    if not has_open_events(chunk.company):
        return
    run_sql(take_due_statement(chunk.due, due_condition(chunk)), due_values(chunk, skipped))


def due_keys(chunk: Chunk, *, skipped: Iterable[UUID]) -> list[EventKey]:
    """Return the events that take_due() takes."""
    rows = fetch(DUE_EVENTS.format(is_due=due_condition(chunk)), due_values(chunk, skipped))
    return [(table, event) for table, event in rows]


def take_waiting_for(chunk: Chunk, new_customers: WorkTable) -> None:
    """Move the events into the chunk that have waited for its new customers."""
    if not has_open_events(chunk.company):
        return
    condition = WAITS_FOR_NEW_CUSTOMER.format(new_customers=new_customers)
    run_sql(take_due_statement(chunk.due, condition), due_values(chunk, ()))


def due_condition(chunk: Chunk) -> sql.Composable:
    sequence = NumberSequence.objects.filter(company=chunk.company).first()
    has_numbers = sequence is not None and sequence.remaining > 0
    return sql.SQL(f"({IS_DUE}) OR ({HAS_FAILED_WITHOUT_NUMBER})" if has_numbers else IS_DUE)


def due_values(chunk: Chunk, skipped: Iterable[UUID]) -> dict[str, object]:
    return chunk.values | {"skipped": list(skipped), "limit": MAX_DUE}


def take_due_statement(due: WorkTable, is_due: sql.Composable) -> sql.Composed:
    return TAKE_DUE.format(due=due, due_events=DUE_EVENTS.format(is_due=is_due))


def take_events(chunk: Chunk, kind: EventKind, events: Sequence[UUID]) -> None:
    """Move those of the given events that are pending into the chunk, ahead of their batch."""
    values = chunk.values | {"events": list(events)}
    run_sql(TAKE_EVENTS, values, due=chunk.due, **kind.names)


# ----------------------------------------------------------------------- open events


class OpenedCounts(NamedTuple):
    """How many of the opened events failed, and how many were opened. The others wait."""

    failed: int
    total: int


def opened_events(kind: EventKind, due: WorkTable) -> sql.Composed:
    """Return the CTEs of each statement that opens events."""
    return OPENED_EVENTS.format(due=due, **kind.names)


def open_claimed(chunk: Chunk, kind: EventKind, claimed: WorkTable) -> OpenedCounts:
    """Open the claimed events that cannot be applied, and delete them from `claimed`."""
    return OpenedCounts(*fetch_one(open_claimed_statement(chunk, kind, claimed), chunk.values))


def open_claimed_statement(chunk: Chunk, kind: EventKind, claimed: WorkTable) -> sql.Composed:
    return OPEN_CLAIMED.format(
        claimed=claimed, opened_events=opened_events(kind, chunk.due), **kind.names
    )


def fail_exhausted(
    chunk: Chunk, kind: EventKind, claimed: WorkTable, left: int, reason: str
) -> None:
    """Fail the events of claimed GUIDs without a number: all GUIDs but the first `left` ones."""
    statement = exhausted_statement(chunk, kind, claimed)
    fetch(statement, chunk.values | {"left": left, "reason": reason})


def exhausted_statement(chunk: Chunk, kind: EventKind, claimed: WorkTable) -> sql.Composed:
    return FAIL_EXHAUSTED.format(
        claimed=claimed, events=chunk.events(kind), opened_events=opened_events(kind, chunk.due)
    )


def fail_refused(chunk: Chunk, kind: EventKind, events: Sequence[UUID]) -> dict[UUID, str]:
    """Fail events, because the database refuses their effect.

    Returns the events that cannot even be opened, with the database's message. They stay pending.
    """
    statement = refused_statement(kind, chunk.due)
    _, refused = bisect_keys(lambda ids: fetch(statement, {"events": list(ids)}), events)
    return refused


def refused_statement(kind: EventKind, due: WorkTable) -> sql.Composed:
    return FAIL_REFUSED.format(opened_events=opened_events(kind, due), **kind.names)


# -------------------------------------------------------------------- waiting events


def write_wait_reasons(company: Company) -> dict[UUID, str]:
    """Write down why the company's open events wait.

    Returns the events whose reason the database refuses, with its message.
    """
    if not has_open_events(company):
        return {}
    _, refused = run_for_rows(
        WRITE_WAIT_REASONS,
        {"company": company.pk},
        "events",
        "SELECT event_id FROM open_event WHERE company_id = %(company)s AND status = 'waiting'",
    )
    return refused


def count_waiting(company: Company) -> int:
    """Count the company's events that wait, or are in a batch that could not be converted."""
    waiting = fetch_value(
        """SELECT (SELECT count(*) FROM open_event
                    WHERE company_id = %(company)s AND status = 'waiting')
                + (SELECT coalesce(sum(batch.rows - (SELECT count(*) FROM open_event
                                                      WHERE batch_id = batch.id)
                                                  - (SELECT count(*) FROM settled_event
                                                      WHERE batch_id = batch.id)), 0)
                     FROM upload_batch batch
                    WHERE batch.company_id = %(company)s AND batch.converted_at IS NULL)""",
        {"company": company.pk},
    )
    return int(waiting)
