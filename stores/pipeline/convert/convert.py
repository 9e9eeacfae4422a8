"""Synchronize customers and channel requests: apply staged events to HQ's customers.

Uploads stage events in *batches*. Conversion works in chunks of one transaction each: a chunk
takes whole batches that were not converted yet, with the open events that are *due* (they could not
be applied before, and can be tried again), applies all of these events, and marks the batches as
converted. If the database refuses the effect of an event, only that event fails.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import partial
from uuid import UUID

from psycopg2 import sql

from stores.failpoints import failpoint
from stores.hqdb.files import load
from stores.hqdb.retry import (
    DATABASE_ERRORS,
    describe_error,
    in_chunks,
    in_savepoint,
    is_data_error,
    run_for_rows,
)
from stores.hqdb.sql import fetch, fetch_values, prefer_index_scans, run_sql
from stores.messages.message import Message
from stores.models import Company, RunStep
from stores.pipeline import number_journal
from stores.pipeline.chunk_sizes import CUSTOMERS_PER_CHUNK, EVENTS_PER_CHUNK
from stores.pipeline.convert.accounts import require_issuing_allowed
from stores.pipeline.convert.apply import apply_chunk, apply_events, apply_or_fail, lock_accounts
from stores.pipeline.convert.balance import count_balance
from stores.pipeline.convert.chunk import Applied, Chunk, due_events, mark_batches
from stores.pipeline.convert.open_events import (
    EventKey,
    count_waiting,
    due_keys,
    has_open_events,
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
# How many batches a chunk chooses from.
MAX_BATCHES = 1_000
# If one of these counts is not zero, the run has changed the balance.
MOVING_COUNTS = ("converted", "updated", "linked", "failed")


@dataclass
class Skipped:
    """What this run leaves as it is, because the database refuses even to mark it.

    `events` are such events, with the database's message; `batches` contain them.
    """

    events: dict[UUID, str] = field(default_factory=dict)
    batches: set[int] = field(default_factory=set)


def convert_customers(step: RunStep, company: Company) -> None:
    """Give new customers of the company an account, and apply the events of known ones.

    While the number journal cannot be written, only known customers are edited, since that takes no
    number. Effects: those of apply_chunk(), one transaction for each chunk. Raises JournalUnusable
    at the end.
    """
    unusable: JournalUnusable | None = None
    skipped = Skipped()
    try:
        if not step.is_dry:
            require_numbers()
        in_chunks(partial(convert_chunk, step, company, skipped))
    except JournalUnusable as error:
        unusable = error
        in_chunks(partial(edit_known_customers, step, company, skipped))
    explain_rest(step, company, skipped)
    if unusable:
        raise unusable


def convert_chunk(step: RunStep, company: Company, skipped: Skipped) -> bool:
    """Convert one chunk. Returns whether there was anything to convert."""
    with step.chunk():
        require_issuing_allowed()
        lock_accounts(company)
        batches = claim_batches(company, skipped.batches)
        applied = None
        if batches or has_open_events(company):
            with due_events() as due:
                chunk = Chunk(company, tuple(batches), due, step.run_key)
                applied = convert_batches(chunk, skipped)
        if applied:
            step.add(**applied.counts)
        failpoint("convert:before_commit")
    failpoint("convert:after_commit")
    if applied and applied.converted and not step.is_dry:
        number_journal.append_missing()
    return applied is not None


def claim_batches(company: Company, skipped: Iterable[int]) -> list[int]:
    """Lock the oldest batches that were not converted: one, or several small ones."""
    rows = fetch(
        """SELECT id, rows FROM upload_batch
            WHERE company_id = %s AND converted_at IS NULL AND id <> ALL(%s::bigint[])
            ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED""",
        [company.pk, list(skipped), MAX_BATCHES],
    )
    claimed: list[int] = []
    total = 0
    for batch, count in rows:
        total += count
        if claimed and total > EVENTS_PER_CHUNK:
            break
        claimed.append(batch)
    return claimed


def convert_batches(chunk: Chunk, skipped: Skipped) -> Applied | None:
    """Apply the chunk's batches and the due events, and mark the batches.

    If the database refuses the effect, the events are applied without those it refuses. Returns
    None if there was nothing to apply.
    """
    try:
        return in_savepoint(lambda _: convert_whole(chunk, skipped), None)
    except DATABASE_ERRORS as error:
        if not is_data_error(error):
            raise
        logger.warning("a chunk of events was refused (%s)", describe_error(error))
    return convert_in_parts(chunk, skipped)


def convert_whole(chunk: Chunk, skipped: Skipped) -> Applied | None:
    mark_batches(chunk, chunk.batches)
    take_due(chunk, skipped=skipped.events)
    return apply_chunk(chunk) if chunk.batches or chunk.due.count() else None


def convert_in_parts(chunk: Chunk, skipped: Skipped) -> Applied | None:
    """Apply the chunk's events as single ones, in halves, until those that are refused are found.

    These fail. A batch stays as it is if the database refuses even to open one of its events.
    """
    keys = [*batch_keys(chunk), *due_keys(chunk, skipped=skipped.events)]
    applied = apply_or_fail(replace(chunk, batches=()), keys)
    stuck = batches_of(chunk, applied.unmarked)
    skipped.events |= applied.unmarked
    skipped.batches |= stuck
    mark_batches(chunk, [batch for batch in chunk.batches if batch not in stuck])
    forget_settled(chunk)
    return applied if keys else None


def batch_keys(chunk: Chunk) -> list[EventKey]:
    """Return the events of the chunk's batches, customers first, as each database wrote them."""
    keys: list[EventKey] = []
    for kind in EVENT_KINDS:
        in_order = EVENTS_IN_ORDER.format(events=chunk.events(kind))
        keys += [(kind.event, event) for event in fetch_values(in_order, chunk.values)]
    return keys


def batches_of(chunk: Chunk, events: Iterable[UUID]) -> set[int]:
    """Return those of the chunk's batches that contain some of the events."""
    batches: set[int] = set()
    for kind in EVENT_KINDS:
        batches |= set(
            fetch_values(
                """SELECT DISTINCT batch_id FROM {event}
                    WHERE event_id = ANY(%s::uuid[]) AND batch_id = ANY(%s::bigint[])""",
                [list(events), list(chunk.batches)],
                **kind.names,
            )
        )
    return batches


def forget_settled(chunk: Chunk) -> None:
    """Delete what is recorded of single events, if their batch now says the same of them."""
    run_sql(
        """DELETE FROM settled_event settled USING upload_batch batch
            WHERE batch.id = ANY(%s::bigint[]) AND settled.batch_id = batch.id
              AND settled.outcome = 'applied' AND NOT settled.by_guid
              AND settled.applied_at = batch.converted_at
              AND settled.run_id IS NOT DISTINCT FROM batch.run_id""",
        [list(chunk.batches)],
    )


def edit_known_customers(step: RunStep, company: Company, skipped: Skipped) -> bool:
    """Apply some events of customers that HQ knows. Returns whether there were any."""
    with step.chunk():
        lock_accounts(company)
        events = {kind: events_of_known(company, kind, skipped.events) for kind in EVENT_KINDS}
        applied = apply_events(company, events, run_key=step.run_key)
        step.add(**applied.counts)
        skipped.events |= applied.unmarked
        failpoint("convert:before_edits_commit")
    failpoint("convert:after_edits_commit")
    return any(events.values())


def events_of_known(company: Company, kind: EventKind, skipped: Iterable[UUID]) -> list[UUID]:
    """Return some pending events of one kind whose customer HQ knows."""
    values = {"company": company.pk, "skipped": list(skipped), "limit": CUSTOMERS_PER_CHUNK}
    return fetch_values(EVENTS_OF_KNOWN, values, **kind.names)


def explain_rest(step: RunStep, company: Company, skipped: Skipped) -> None:
    """Write down why the rest was not converted, close superseded rows, and count the balance."""
    with step.chunk(), prefer_index_scans():
        unclosed: dict[int, str] = {}
        for kind in kinds_in_quarantine():
            unclosed |= supersede_quarantined(company, kind)
        skipped.events |= write_wait_reasons(company)
        step.add(waiting=count_waiting(company))
        report_refused_rows(
            f"events of {company}",
            Message("events_of_company", company=company.pk),
            skipped.events,
        )
        report_refused_rows(
            f"quarantine of {company}",
            Message("quarantine_of_company", company=company.pk),
            unclosed,
        )
        failpoint("convert:before_last_commit")
    with step.chunk():
        settle_fields(company)
        count_balance(company, is_moved=any(step.counts.get(word) for word in MOVING_COUNTS))


def kinds_in_quarantine() -> list[EventKind]:
    """Return the kinds of which some quarantined rows are open. Mostly there are none."""
    tables = fetch_values(
        """SELECT name FROM unnest(%s::text[]) name
            WHERE EXISTS (SELECT FROM quarantine WHERE status = 'open' AND "table" = name)""",
        [[kind.event for kind in EVENT_KINDS]],
    )
    return [kind for kind in EVENT_KINDS if kind.event in tables]


def supersede_quarantined(company: Company, kind: EventKind) -> dict[int, str]:
    """Close the quarantined rows that a later, applied event replaces.

    Returns the rows that the database refuses to close, with its message.
    """
    _, refused = run_for_rows(
        supersede_statement(kind),
        {"table": kind.event, "company": company.pk},
        "some",
        """SELECT id FROM quarantine
            WHERE status = 'open' AND "table" = %(table)s ORDER BY id""",
    )
    return refused


def supersede_statement(kind: EventKind) -> sql.Composed:
    same_key = sql.SQL("convert_from(quarantine.raw, 'UTF8')::jsonb ->> {} = event.{}::text")
    conditions = [
        same_key.format(sql.Literal(column), sql.Identifier(column)) for column in kind.key
    ]
    is_same = sql.SQL(" AND ").join(conditions or [sql.SQL("true")])
    return SUPERSEDE_QUARANTINED.format(is_same=is_same, **kind.names)
