"""A chunk: the events that one transaction of conversion applies.

It takes whole *batches*, in which uploads have staged events, and *single events*: open ones that
can be tried again, and those that are applied ahead of their batch. No row marks an event as
applied. It counts as applied once its batch is converted, unless `open_event` or `settled_event`
says otherwise.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
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
# What the view of a kind has beside the columns of the staging table, and a history needs.
STATE_COLUMNS = ("status", "reason", "applied_at")


@dataclass(frozen=True)
class Applied:
    """How many customers were created and how many changed, and how many events failed.

    `unmarked` are failed events that stay pending, because the database refuses even to open them,
    with its message.
    """

    converted: int = 0
    updated: int = 0
    failed: int = 0
    unmarked: Mapping[UUID, str] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """The counts of a run."""
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

    `due` is the work table of its single events. `run` is the run that applies them, if one does.
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
        """Return the query for the events of one kind, without those that were opened."""
        return CHUNK_EVENTS.format(due=self.due, **kind.names)


def kinds_of(chunk: Chunk) -> list[EventKind]:
    """Return the kinds of which the chunk has events, customers first. Few chunks have all."""
    has_events = sql.SQL(
        """EXISTS (SELECT FROM {event} WHERE batch_id = ANY(%(batches)s::bigint[]))
           OR EXISTS (SELECT FROM {due} WHERE "table" = {name})"""
    )
    columns = listed(has_events.format(due=chunk.due, **kind.names) for kind in EVENT_KINDS)
    answers = fetch_one(sql.SQL("SELECT ") + columns, chunk.values)
    return [kind for kind, answer in zip(EVENT_KINDS, answers, strict=True) if answer]


def due_events() -> AbstractContextManager[WorkTable]:
    """Make an empty work table for the single events of a chunk."""
    return empty_table("due_event", DUE_COLUMNS)


@contextmanager
def applied_history(kind: EventKind, customers: WorkTable) -> Iterator[WorkTable]:
    """Make a work table of all events of one kind that were applied to some customers.

    Those of the present chunk are among them. Shape: customer_id, the columns of the staging table,
    and STATE_COLUMNS.
    """
    with query_table("event_history", history_query(kind, customers)) as history:
        history.add_index("customer_id")
        yield history


def history_query(kind: EventKind, customers: WorkTable) -> sql.Composed:
    staged = [str(field.column) for field in STAGED_MODELS[kind.noun]._meta.concrete_fields]
    columns = identifiers([*staged, *STATE_COLUMNS], of="event")
    return HISTORY.format(customers=customers, columns=columns, **kind.names)


def mark_batches(chunk: Chunk, batches: Sequence[int]) -> None:
    """Mark batches as converted: from now on their events count as applied."""
    run_sql(
        """UPDATE upload_batch SET converted_at = now(), run_id = %s::uuid
            WHERE id = ANY(%s::bigint[])""",
        [chunk.run, list(batches)],
    )
