"""What one transaction of conversion applies: whole batches, and single events that are due."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import compress
from uuid import UUID

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import fetch_one, identifiers, listed, run_sql
from stores.hqdb.work_table import WorkTable, empty_table, query_table
from stores.models import Company
from stores.pipeline.events.kinds import EVENT_KINDS, EventKind
from stores.pipeline.events.rules import STAGED_MODELS

CHUNK_EVENTS = load(__file__, "_chunk_events")
HISTORY = load(__file__, "history")
DUE_COLUMNS = '"table" text, event_id uuid, attempts integer, PRIMARY KEY ("table", event_id)'
# What the view of a kind tells of an event beside what was staged.
STATE_COLUMNS = ("status", "reason", "applied_at")


@dataclass(frozen=True)
class Applied:
    """How many customers events created, how many they changed, and how many events failed.

    `unmarked` are those of the failed events that stay pending, because the database refuses even
    to mark them, with what it said.
    """

    converted: int = 0
    updated: int = 0
    failed: int = 0
    unmarked: Mapping[UUID, str] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """What a run counts."""
        return {"converted": self.converted, "updated": self.updated, "failed": self.failed}

    def __add__(self, other: "Applied") -> "Applied":
        return Applied(
            self.converted + other.converted,
            self.updated + other.updated,
            self.failed + other.failed,
            {**self.unmarked, **other.unmarked},
        )


@dataclass(frozen=True)
class Chunk:
    """The events that one transaction applies. Its batches are marked as converted already.

    `due` are single events: those that waited for what has come, and those that are converted ahead
    of their batch. `run` is the run that applies them, None where no run does.
    """

    company: Company
    batches: tuple[int, ...]
    due: WorkTable
    run: str | None

    @property
    def values(self) -> dict[str, object]:
        """The parameters of the statements that read the events."""
        return {"company": self.company.pk, "batches": list(self.batches), "run": self.run}

    def events(self, kind: EventKind) -> sql.Composed:
        """Query for the events of one kind, but for those that were opened. See its file."""
        return CHUNK_EVENTS.format(due=self.due, **kind.names)


def kinds_of(chunk: Chunk) -> list[EventKind]:
    """The kinds of which the chunk has events, parents first: most chunks have some only."""
    has_events = sql.SQL(
        """EXISTS (SELECT FROM {event} WHERE batch_id = ANY(%(batches)s::bigint[]))
           OR EXISTS (SELECT FROM {due} WHERE "table" = {name})"""
    )
    of_kinds = [has_events.format(due=chunk.due, **kind.names) for kind in EVENT_KINDS]
    found = fetch_one(sql.SQL("SELECT {}").format(listed(of_kinds)), chunk.values)
    return list(compress(EVENT_KINDS, found))


def due_events() -> AbstractContextManager[WorkTable]:
    """An empty work table for the single events of a chunk."""
    return empty_table("due_event", DUE_COLUMNS)


def applied_history(kind: EventKind, customers: WorkTable) -> AbstractContextManager[WorkTable]:
    """All that was applied of one kind of the customers in a work table, this chunk included.

    Shape: customer_id, the columns of the event, and STATE_COLUMNS.
    """
    return query_table("event_history", history_query(kind, customers))


def history_query(kind: EventKind, customers: WorkTable) -> sql.Composed:
    columns = [*staged_columns(kind), *STATE_COLUMNS]
    return HISTORY.format(
        customers=customers,
        columns=identifiers(columns, of="event"),
        **kind.names,
    )


def staged_columns(kind: EventKind) -> Sequence[str]:
    """The columns of the table in which events of a kind are staged."""
    return [str(column.column) for column in STAGED_MODELS[kind.noun]._meta.concrete_fields]


def mark_batches(chunk: Chunk, batches: Sequence[int]) -> None:
    """Mark batches as converted: from now on their events count as applied."""
    run_sql(
        """UPDATE upload_batch SET converted_at = now(), run_id = %s::uuid
            WHERE id = ANY(%s::bigint[])""",
        [chunk.run, list(batches)],
    )
