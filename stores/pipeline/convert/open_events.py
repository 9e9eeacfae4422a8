"""The exceptions of conversion: events that cannot be applied, and those applied apart.

What could not be applied is a row of `open_event` and says why. It is taken up again when what it
waits for has come. Whatever ends in another way than its batch is a row of `settled_event`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias
from uuid import UUID

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.retry import bisect_keys, run_for_rows
from stores.hqdb.sql import fetch, fetch_one, run_sql
from stores.hqdb.work_table import WorkTable
from stores.models import Company, NumberSequence
from stores.pipeline.convert.chunk import Chunk
from stores.pipeline.events.kinds import EVENT_KINDS, EventKind

OPEN_FAILING = load(__file__, "_open_failing")
OPEN_CLAIMED = load(__file__, "open_claimed")
FAIL_EXHAUSTED = load(__file__, "fail_exhausted")
FAIL_REFUSED = load(__file__, "fail_refused")
DUE_EVENTS = load(__file__, "due_events")
TAKE_DUE = load(__file__, "take_due")
TAKE_EVENTS = load(__file__, "take_events")
WRITE_WAIT_REASONS = load(__file__, "write_wait_reasons")

# An event by its table and id.
EventKey: TypeAlias = tuple[str, UUID]
# Events wait for a customer, by the GUID or the account that they name, or were released.
IS_DUE = """opened.status = 'waiting' AND (
           opened.released_at IS NOT NULL
           OR EXISTS (SELECT FROM guid_map guid WHERE guid.async_account = opened.async_account)
           OR EXISTS (SELECT FROM customer
                       WHERE customer.company_id = opened.company_id
                         AND customer.account_number = opened.account_number))"""
IS_EXHAUSTED = """opened.status = 'failed'
                  AND opened.reason IN ('sequence_exhausted', 'sequence_missing')"""
IS_OF_NEW_GUID = sql.SQL(
    """opened.status = 'waiting'
       AND opened.async_account IN (SELECT async_account FROM {new_customers})"""
)
# How many events one chunk takes up again.
MAX_DUE = 10_000


def events_by_kind(events: Iterable[EventKey]) -> Mapping[EventKind, list[UUID]]:
    """Ids of events by kind; parents first."""
    found: dict[str, list[UUID]] = {}
    for table, event in events:
        found.setdefault(table, []).append(event)
    return {kind: found[kind.event] for kind in EVENT_KINDS if kind.event in found}


# ------------------------------------------------------------------------- taking up


def take_due(chunk: Chunk, *, skipped: Iterable[UUID]) -> None:
    """Take up the company's open events that can be tried again, up to MAX_DUE.

    Those that failed for want of a number are among them while there are numbers.
    """
    run_sql(take_due_statement(chunk.due, due_condition(chunk)), due_values(chunk, skipped))


def due_keys(chunk: Chunk, *, skipped: Iterable[UUID]) -> list[EventKey]:
    """The events that take_due() takes."""
    rows = fetch(due_statement(due_condition(chunk)), due_values(chunk, skipped))
    return [(table, event) for table, event in rows]


def take_waiting_for(chunk: Chunk, new_customers: WorkTable) -> None:
    """Take up the open events that have waited for new customers."""
    condition = IS_OF_NEW_GUID.format(new_customers=new_customers)
    run_sql(take_due_statement(chunk.due, condition), due_values(chunk, ()))


def due_condition(chunk: Chunk) -> sql.Composable:
    """That event `opened` is due."""
    sequence = NumberSequence.objects.filter(company=chunk.company).first()
    has_numbers = sequence is not None and sequence.left > 0
    return sql.SQL(f"{IS_DUE} OR {IS_EXHAUSTED}" if has_numbers else IS_DUE)


def due_values(chunk: Chunk, skipped: Iterable[UUID]) -> dict[str, object]:
    return chunk.values | {"skipped": list(skipped), "limit": MAX_DUE}


def due_statement(is_due: sql.Composable) -> sql.Composed:
    return DUE_EVENTS.format(is_due=is_due)


def take_due_statement(due: WorkTable, is_due: sql.Composable) -> sql.Composed:
    return TAKE_DUE.format(due=due, due_events=due_statement(is_due))


def take_events(chunk: Chunk, kind: EventKind, events: Sequence[UUID]) -> int:
    """Take pending events ahead of their batch, those that are given. Returns how many."""
    return run_sql(take_events_statement(kind, chunk.due), chunk.values | {"events": list(events)})


def take_events_statement(kind: EventKind, due: WorkTable) -> sql.Composed:
    return TAKE_EVENTS.format(due=due, **kind.names)


# --------------------------------------------------------------------------- opening


class Opened(NamedTuple):
    """How many events were opened, and how many of these failed; the others wait."""

    failed: int
    total: int


def open_failing(kind: EventKind, due: WorkTable) -> sql.Composed:
    """The end of each statement that opens events; see its file."""
    return OPEN_FAILING.format(due=due, **kind.names)


def open_claimed(chunk: Chunk, kind: EventKind, claimed: WorkTable) -> Opened:
    """Open the claimed events that cannot be applied, and drop them."""
    if not claimed.rows:
        return Opened(0, 0)
    return Opened(*fetch_one(open_claimed_statement(chunk, kind, claimed), chunk.values))


def open_claimed_statement(chunk: Chunk, kind: EventKind, claimed: WorkTable) -> sql.Composed:
    return OPEN_CLAIMED.format(
        claimed=claimed,
        open_failing=open_failing(kind, chunk.due),
        **kind.names,
    )


def fail_exhausted(
    chunk: Chunk, kind: EventKind, claimed: WorkTable, left: int, reason: str
) -> None:
    """Fail the events of the claimed GUIDs for which no number is left."""
    fetch(
        exhausted_statement(chunk, kind, claimed), chunk.values | {"left": left, "reason": reason}
    )


def exhausted_statement(chunk: Chunk, kind: EventKind, claimed: WorkTable) -> sql.Composed:
    return FAIL_EXHAUSTED.format(
        claimed=claimed, events=chunk.events(kind), open_failing=open_failing(kind, chunk.due)
    )


def fail_refused(chunk: Chunk, kind: EventKind, events: Sequence[UUID]) -> dict[UUID, str]:
    """Fail events of which the database refuses what comes of them.

    Returns those that it refuses even to mark, with what it said; they stay pending.
    """

    def fail(keys: Sequence[UUID]) -> int:
        return len(fetch(refused_statement(kind, chunk.due), {"events": list(keys)}))

    _, refused = bisect_keys(fail, events)
    return refused


def refused_statement(kind: EventKind, due: WorkTable) -> sql.Composed:
    return FAIL_REFUSED.format(open_failing=open_failing(kind, due), **kind.names)


# --------------------------------------------------------------------------- waiting


def write_wait_reasons(company: Company) -> dict[UUID, str]:
    """Write the reason on what could not be applied yet.

    Returns the events on which the database does not let it be written, with what it said.
    """
    _, refused = run_for_rows(
        WRITE_WAIT_REASONS,
        {"company": company.pk},
        "events",
        "SELECT event_id FROM open_event WHERE company_id = %(company)s AND status = 'waiting'",
    )
    return refused


def count_waiting(company: Company) -> int:
    """How many events of the company wait, or are in a batch that could not be converted."""
    (waiting,) = fetch_one(
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
