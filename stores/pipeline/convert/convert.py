"""Synchronize customers and channel requests: staging -> HQ customers.

A chunk takes whole batches that were not converted yet, with the open events that are due, applies
their events, and marks the batches. It commits all of it or nothing.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from uuid import UUID

from psycopg2 import sql

from stores.failpoints import failpoint
from stores.hqdb.files import load
from stores.hqdb.retry import (
    DATABASE_ERRORS,
    bisect_rows,
    describe_error,
    in_chunks,
    in_savepoint,
    is_data_error,
)
from stores.hqdb.sql import fetch, prefer_index_scans, run_sql
from stores.models import Company, RunStep
from stores.pipeline import number_journal
from stores.pipeline.chunk_sizes import CUSTOMERS_PER_CHUNK, EVENTS_PER_CHUNK
from stores.pipeline.convert.accounts import require_issuing_allowed
from stores.pipeline.convert.apply import (
    EventKey,
    apply_ahead,
    apply_chunk,
    apply_or_fail,
    lock_accounts,
)
from stores.pipeline.convert.balance import count_balance
from stores.pipeline.convert.chunk import Applied, Chunk, due_events, mark_batches
from stores.pipeline.convert.open_events import (
    count_waiting,
    due_keys,
    take_due,
    write_wait_reasons,
)
from stores.pipeline.events.kinds import EVENT_KINDS, EventKind
from stores.pipeline.fields_to_correct import settle_fields
from stores.pipeline.issuing import require_numbers
from stores.pipeline.number_journal import JournalUnusable
from stores.pipeline.refused_rows import report_refused_rows

logger = logging.getLogger(__name__)
SUPERSEDE_QUARANTINED = load(__file__, "supersede_quarantined")
EVENTS_IN_ORDER = load(__file__, "events_in_order")
EVENTS_OF_KNOWN = load(__file__, "events_of_known")
# How many batches a chunk looks at.
MAX_BATCHES = 1_000
# Counts that say that rows have gone on, and the balance is another one.
MOVING_COUNTS = ("converted", "updated", "linked", "failed")


@dataclass
class Passed:
    """What a conversion leaves where it is: events that the database does not let it mark.

    `events` with what the database said, `batches` those that cannot be marked because of them.
    """

    events: dict[UUID, str] = field(default_factory=dict)
    batches: set[int] = field(default_factory=set)


def convert_customers(step: RunStep, company: Company) -> None:
    """Give each staged customer of the company its account, and apply the edits of known ones.

    Edits need no number, so they go on while the number journal cannot be written. Effects: those
    of apply_chunk; a chunk a transaction. Errors: JournalUnusable at the end.
    """
    unusable: JournalUnusable | None = None
    passed = Passed()
    try:
        if not step.is_dry:
            require_numbers()
        in_chunks(partial(convert_chunk, step, company, passed))
    except JournalUnusable as error:
        unusable = error
        in_chunks(partial(edit_known_customers, step, company, passed))
    with step.chunk(), prefer_index_scans():
        unclosed: dict[int, str] = {}
        for kind in EVENT_KINDS:
            unclosed |= supersede_quarantined(company, kind)
        passed.events |= write_wait_reasons(company)
        step.add(waiting=count_waiting(company))
        report_refused_rows(f"events of {company}", passed.events)
        report_refused_rows(f"quarantine of {company}", unclosed)
        failpoint("convert:before_last_commit")
    with step.chunk():
        settle_fields(company)
        count_balance(company, is_moved=any(step.counts.get(word) for word in MOVING_COUNTS))
    if unusable:
        raise unusable


def convert_chunk(step: RunStep, company: Company, passed: Passed) -> bool:
    """Convert the next batches, and the open events that are due. Says whether there were any."""
    with step.chunk():
        require_issuing_allowed()
        lock_accounts(company)
        with due_events() as due:
            batches = claim_batches(company, passed.batches)
            applied = convert_batches(Chunk(company, tuple(batches), due, step.run_key), passed)
        if applied:
            step.add(**applied._asdict())
        failpoint("convert:before_commit")
    failpoint("convert:after_commit")
    if applied and applied.converted and not step.is_dry:
        number_journal.append_missing()
    return applied is not None


def claim_batches(company: Company, passed: Iterable[int]) -> list[int]:
    """Lock the next batches to convert, oldest first: one, or several small ones."""
    rows = fetch(
        """SELECT id, rows FROM upload_batch
            WHERE company_id = %s AND converted_at IS NULL AND id <> ALL(%s::bigint[])
            ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED""",
        [company.pk, list(passed), MAX_BATCHES],
    )
    claimed: list[int] = []
    total = 0
    for batch, count in rows:
        total += count
        if claimed and total > EVENTS_PER_CHUNK:
            break
        claimed.append(batch)
    return claimed


def convert_batches(chunk: Chunk, passed: Passed) -> Applied | None:
    """Apply the chunk's batches and the open events that are due, and mark the batches.

    Should the database refuse what comes of them, they are applied apart from the culprits. None if
    there was nothing to apply.
    """
    try:
        return in_savepoint(lambda _: convert_whole(chunk, passed), None)
    except DATABASE_ERRORS as error:
        if not is_data_error(error):
            raise
        logger.warning("a chunk of events was refused (%s)", describe_error(error))
    return convert_apart(chunk, passed)


def convert_whole(chunk: Chunk, passed: Passed) -> Applied | None:
    mark_batches(chunk, chunk.batches)
    take_due(chunk, passed=passed.events)
    return apply_chunk(chunk) if chunk.batches or chunk.due.count() else None


def convert_apart(chunk: Chunk, passed: Passed) -> Applied | None:
    """Apply the chunk's events one by one, as far as needed to find those that are refused.

    These fail. A batch with an event that the database does not let be marked stays as it is.
    """
    keys = [*batch_keys(chunk), *due_keys(chunk, passed=passed.events)]
    applied, unmarked = apply_or_fail(replace(chunk, batches=()), keys)
    passed.events |= unmarked
    stuck = batches_of(chunk, unmarked)
    passed.batches |= stuck
    mark_batches(chunk, [batch for batch in chunk.batches if batch not in stuck])
    forget_settled(chunk)
    return applied if keys else None


def batch_keys(chunk: Chunk) -> list[EventKey]:
    """The events of the chunk's batches, parents first, in the order of each database."""
    return [
        (kind.event, event)
        for kind in EVENT_KINDS
        for (event,) in fetch(in_order_statement(chunk, kind), chunk.values)
    ]


def in_order_statement(chunk: Chunk, kind: EventKind) -> sql.Composed:
    return EVENTS_IN_ORDER.format(events=chunk.events(kind))


def batches_of(chunk: Chunk, events: Iterable[UUID]) -> set[int]:
    """Those of the chunk's batches in which some events are."""
    chosen = list(map(str, events))
    return {
        batch
        for kind in EVENT_KINDS
        for (batch,) in fetch(
            """SELECT DISTINCT batch_id FROM {event}
                WHERE event_id = ANY(%s::uuid[]) AND batch_id = ANY(%s::bigint[])""",
            [chosen, list(chunk.batches)],
            event=sql.Identifier(kind.event),
        )
    }


def forget_settled(chunk: Chunk) -> None:
    """Forget of single events what their batch says as well, now that it is marked."""
    run_sql(
        """DELETE FROM settled_event s USING upload_batch b
            WHERE b.id = ANY(%s::bigint[]) AND s.batch_id = b.id
              AND s.outcome = 'applied' AND NOT s.by_guid
              AND s.applied_at = b.converted_at AND s.run_id IS NOT DISTINCT FROM b.run_id""",
        [list(chunk.batches)],
    )


def edit_known_customers(step: RunStep, company: Company, passed: Passed) -> bool:
    """Apply some events that name customers HQ knows, ahead of their batches.

    They need no number. Says whether there were any.
    """
    with step.chunk():
        lock_accounts(company)
        events = {kind: events_of_known(company, kind, passed.events) for kind in EVENT_KINDS}
        applied, unmarked = apply_ahead(company, events, run_key=step.run_key)
        step.add(**applied._asdict())
        passed.events |= unmarked
        failpoint("convert:before_edits_commit")
    failpoint("convert:after_edits_commit")
    return any(events.values())


def events_of_known(company: Company, kind: EventKind, passed: Iterable[UUID]) -> list[UUID]:
    """Some pending events of one kind whose customer HQ knows."""
    rows = fetch(
        known_statement(kind),
        {
            "company": company.pk,
            "passed": list(map(str, passed)),
            "limit": CUSTOMERS_PER_CHUNK,
        },
    )
    return [event for (event,) in rows]


def known_statement(kind: EventKind) -> sql.Composed:
    return EVENTS_OF_KNOWN.format(view=sql.Identifier(kind.view))


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
        view=sql.Identifier(kind.view),
        name=sql.Literal(kind.event),
        is_same=sql.SQL(" AND ").join(same or [sql.SQL("true")]),
    )
