"""Apply the events of one chunk: new customers get an account, known ones are edited.

`apply_chunk` is the conversion itself. `apply_or_fail` does it for single events and fails those of
which the database refuses what comes of them; `convert_batch`, `apply_events` and `convert_guids`
are the ways in for others than the conversion job.
"""

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.retry import bisect_keys
from stores.hqdb.sql import fetch, lock_until_commit, prefer_index_scans
from stores.models import Company
from stores.pipeline.convert.accounts import (
    NewCustomers,
    new_customers,
    require_issuing_allowed,
)
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


def lock_accounts(company: Company) -> None:
    """Wait until nobody else converts events of the company.

    It would wait for the number sequence anyhow, and so no two jobs ever hold the same event.
    """
    lock_until_commit(f"accounts:{company.pk}")


def apply_chunk(chunk: Chunk) -> Applied:
    """Apply all events of a chunk, or open those that cannot be applied.

    Effects: customers and all that belongs to them, open and settled events; in the caller's
    transaction, which has locked the company's accounts. Errors: the database's own, when it
    refuses what comes of an event.
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
                if claimed.count:
                    updated += apply_to_known_customers(chunk, kind, claimed.table)
    return Applied(created.count, updated, created.failed + failed)


def complete_new_customers(
    chunk: Chunk, kind: EventKind, created: NewCustomers, *, contested: Sequence[str]
) -> None:
    """Give new customers what belongs to them of one kind; of themselves, what all events say."""
    claim = claim_of_new(chunk, kind, created.claimed, contested=contested)
    needs_replay = created.has_several_events if kind is CUSTOMER else merge_children_of_new(claim)
    if needs_replay:
        replay_new(claim)


def contested_ids(chunk: Chunk, kind: EventKind) -> list[str]:
    """Ids of addresses or contacts that several customers name in the chunk.

    Whose they are is decided over all its events, those of new and of known customers together.
    """
    return [str(key) for (key,) in fetch(contested_statement(chunk, kind), chunk.values)]


def contested_statement(chunk: Chunk, kind: EventKind) -> sql.Composed:
    return CONTESTED_IDS.format(events=chunk.events(kind), **kind.names)


def apply_or_fail(chunk: Chunk, keys: Sequence[EventKey]) -> Applied:
    """Apply single events, and fail those of which the database refuses what comes of them."""

    def apply(part: Sequence[EventKey]) -> Applied:
        chunk.due.empty()
        for kind, events in events_by_kind(part).items():
            take_events(chunk, kind, events)
        return apply_chunk(chunk)

    done, refused = bisect_keys(apply, keys)
    return sum(done, fail_events(chunk, refused))


def fail_events(chunk: Chunk, refused: Iterable[EventKey]) -> Applied:
    unmarked: dict[UUID, str] = {}
    failed = 0
    chunk.due.empty()
    for kind, events in events_by_kind(refused).items():
        failed += len(events)
        unmarked |= fail_refused(chunk, kind, events)
    return Applied(failed=failed, unmarked=unmarked)


# ------------------------------------------------------------- beside the conversion job


def convert_batch(company: Company, batch: int) -> None:
    """Convert one batch. The caller has locked the company's accounts.

    Effects and errors: those of apply_chunk.
    """
    with due_events() as due:
        chunk = Chunk(company, (batch,), due, run=None)
        mark_batches(chunk, chunk.batches)
        apply_chunk(chunk)


def apply_events(
    company: Company, events: Mapping[EventKind, Sequence[UUID]], *, run_key: str | None
) -> Applied:
    """Apply pending events ahead of their batch, or fail those that the database refuses.

    Effects: those of apply_chunk.
    """
    lock_accounts(company)
    with due_events() as due:
        keys = [(kind.event, event) for kind, ids in events.items() for event in ids]
        return apply_or_fail(Chunk(company, (), due, run_key), keys)


def convert_guids(company: Company, guids: Sequence[UUID], *, run_key: str | None) -> Applied:
    """Give GUIDs whose events are pending their accounts, ahead of their batches.

    Effects and errors: those of apply_chunk; StepFailed while an incident stops conversion.
    """
    require_issuing_allowed()
    lock_accounts(company)
    events = {kind: pending_events_of(company, kind, guids) for kind in EVENT_KINDS}
    return apply_events(company, events, run_key=run_key)


def pending_events_of(company: Company, kind: EventKind, guids: Sequence[UUID]) -> list[UUID]:
    """The pending events of one kind that name these GUIDs and no account."""
    rows = fetch(
        """SELECT event_id FROM {view}
            WHERE async_account = ANY(%s::uuid[]) AND account_number IS NULL
              AND company_id = %s AND status = 'pending'""",
        [list(guids), company.pk],
        **kind.names,
    )
    return [event for (event,) in rows]
