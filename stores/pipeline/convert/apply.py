"""Apply events to HQ's customers: new customers get an account, known ones are edited.

A *chunk* is what one transaction applies: whole batches of uploaded events, and single events that
are tried again or come ahead of their batch. An event that cannot be applied is *opened*: a row of
`open_event` keeps it with the reason, and it waits or has failed. An event is *claimed* when its
customer has been found. The conversion job calls apply_chunk() and apply_or_fail(); the functions
at the end of the file are for others that need some events applied at once.
"""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from stores.hqdb.files import load
from stores.hqdb.retry import bisect_keys
from stores.hqdb.sql import fetch_values, lock_until_commit, prefer_index_scans
from stores.models import Company
from stores.pipeline.convert.accounts import NewCustomers, new_customers, require_issuing_allowed
from stores.pipeline.convert.chunk import Applied, Chunk, due_events, kinds_of, mark_batches
from stores.pipeline.convert.known_customers import apply_to_known_customers, claimed_events
from stores.pipeline.convert.merge import KINDS_WITH_ID, claim_of_new, merge_children_of_new
from stores.pipeline.convert.open_events import (
    EventKey,
    events_by_kind,
    fail_refused,
    take_events,
    take_waiting_for,
)
from stores.pipeline.convert.replay import replay_new
from stores.pipeline.events.kinds import CUSTOMER, EVENT_KINDS, EventKind

CONTESTED_IDS = load(__file__, "contested_ids")


def apply_chunk(chunk: Chunk) -> Applied:
    """Apply the events of a chunk, and open those that cannot be applied.

    The caller has locked the company's accounts. Effects: customers and their addresses, contacts
    and so on, open and settled events; in the caller's transaction. Errors: those of the database,
    if it refuses the effect of an event.
    """
    updated, failed = 0, 0
    with prefer_index_scans(), new_customers(chunk) as created:
        if created.count:
            take_waiting_for(chunk, created.claimed)
        for kind in kinds_of(chunk):
            contested = contested_ids(chunk, kind) if kind in KINDS_WITH_ID else []
            with claimed_events(chunk, kind, created.claimed, contested=contested) as claimed:
                failed += claimed.failed
                if created.count:
                    complete_new_customers(chunk, kind, created, contested=contested)
                if claimed.table is not None and claimed.count:
                    updated += apply_to_known_customers(chunk, kind, claimed.table)
    return Applied(created.count, updated, created.failed + failed)


def complete_new_customers(
    chunk: Chunk, kind: EventKind, created: NewCustomers, *, contested: Sequence[str]
) -> None:
    """Write what the events of one kind say of the chunk's new customers."""
    claim = claim_of_new(chunk, kind, created.claimed, contested=contested)
    # The customers themselves were created as their newest events say.
    needs_replay = created.has_several_events
    if kind is not CUSTOMER:
        needs_replay = merge_children_of_new(claim)
    if needs_replay:
        replay_new(claim)


def contested_ids(chunk: Chunk, kind: EventKind) -> list[str]:
    """Return the ids of addresses or contacts that several customers name in the chunk.

    All events with such an id are applied as those of known customers are, to be compared.
    """
    statement = CONTESTED_IDS.format(events=chunk.events(kind), **kind.names)
    return [str(key) for key in fetch_values(statement, chunk.values)]


def apply_or_fail(chunk: Chunk, keys: Sequence[EventKey]) -> Applied:
    """Apply single events, and fail those whose effect the database refuses."""

    def apply(part: Sequence[EventKey]) -> Applied:
        chunk.due.clear()
        for kind, events in events_by_kind(part).items():
            take_events(chunk, kind, events)
        return apply_chunk(chunk)

    applied, refused = bisect_keys(apply, keys)
    failed = fail_events(chunk, refused)
    return sum(applied, start=failed)


def fail_events(chunk: Chunk, refused: Iterable[EventKey]) -> Applied:
    """Record that the database refuses the effect of these events."""
    unmarked: dict[UUID, str] = {}
    failed = 0
    chunk.due.clear()
    for kind, events in events_by_kind(refused).items():
        failed += len(events)
        unmarked |= fail_refused(chunk, kind, events)
    return Applied(failed=failed, unmarked=unmarked)


# --------------------------------------------------------- for others than the conversion job


def lock_accounts(company: Company) -> None:
    """Wait until no other transaction applies events of the company.

    It would have to wait for the number sequence in any case; this way, no event is applied twice.
    """
    lock_until_commit(f"accounts:{company.pk}")


def convert_batch(company: Company, batch: int) -> None:
    """Convert one batch. The caller has locked the company's accounts.

    Effects and errors: those of apply_chunk().
    """
    with due_events() as due:
        chunk = Chunk(company, (batch,), due, run=None)
        mark_batches(chunk, chunk.batches)
        apply_chunk(chunk)


def apply_events(
    company: Company, events: Mapping[EventKind, Sequence[UUID]], *, run_key: str | None
) -> Applied:
    """Apply pending events ahead of their batch, and fail those whose effect is refused.

    Effects: those of apply_chunk(), and a lock on the company's accounts.
    """
    lock_accounts(company)
    with due_events() as due:
        keys = [(kind.event, event) for kind, ids in events.items() for event in ids]
        return apply_or_fail(Chunk(company, (), due, run_key), keys)


def convert_guids(company: Company, guids: Sequence[UUID], *, run_key: str | None) -> Applied:
    """Give GUIDs whose events are pending their accounts, ahead of the batches of the events.

    Effects: those of apply_events(). Raises StepFailed while an incident forbids new accounts.
    """
    require_issuing_allowed()
    lock_accounts(company)
    events = {kind: pending_events_of(company, kind, guids) for kind in EVENT_KINDS}
    return apply_events(company, events, run_key=run_key)


def pending_events_of(company: Company, kind: EventKind, guids: Sequence[UUID]) -> list[UUID]:
    """Return the pending events of one kind that name these GUIDs and no account."""
    return fetch_values(
        """SELECT event_id FROM {view}
            WHERE async_account = ANY(%s::uuid[]) AND account_number IS NULL
              AND company_id = %s AND status = 'pending'""",
        [list(guids), company.pk],
        **kind.names,
    )
