"""What one transaction of conversion applies: whole batches, and single events that are due."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from psycopg2 import sql

from stores.hqdb.files import load
from stores.hqdb.sql import identifiers, listed, run_sql
from stores.hqdb.work_table import WorkTable, empty_table, query_table
from stores.models import Company
from stores.pipeline.events.kinds import EventKind
from stores.pipeline.events.rules import STAGED_MODELS

CHUNK_EVENTS = load(__file__, "_chunk_events")
HISTORY = load(__file__, "history")
DUE_COLUMNS = '"table" text, event_id uuid, attempts integer, PRIMARY KEY ("table", event_id)'
# What the view of a kind tells of an event beside what was staged.
STATE_COLUMNS = ("status", "reason", "applied_at")


class Applied(NamedTuple):
    """How many customers events created, how many they changed, and how many events failed."""

    converted: int = 0
    updated: int = 0
    failed: int = 0


def add_up(parts: Iterable[Applied]) -> Applied:
    return Applied(*map(sum, zip(*parts, strict=True)))


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
        return CHUNK_EVENTS.format(due=self.due, **event_names(kind))


def event_names(kind: EventKind) -> dict[str, sql.Composable]:
    """The table of a kind of events, and its name as a text."""
    return {"event": sql.Identifier(kind.event), "name": sql.Literal(kind.event)}


@contextmanager
def due_events() -> Iterator[WorkTable]:
    with empty_table("due_event", DUE_COLUMNS) as due:
        yield due


@contextmanager
def applied_history(kind: EventKind, customers: WorkTable) -> Iterator[WorkTable]:
    """All that was applied of one kind of the customers in a work table, this chunk included.

    Shape: customer_id, the columns of the event, and STATE_COLUMNS.
    """
    with query_table("event_history", history_query(kind, customers)) as history:
        yield history


def history_query(kind: EventKind, customers: WorkTable) -> sql.Composed:
    return HISTORY.format(
        view=sql.Identifier(kind.view),
        customers=customers,
        columns=listed(
            [identifiers(staged_columns(kind), of="t"), identifiers(STATE_COLUMNS, of="t")]
        ),
    )


def staged_columns(kind: EventKind) -> Sequence[str]:
    """The columns of the table in which events of a kind are staged."""
    return [str(field.column) for field in STAGED_MODELS[kind.name]._meta.concrete_fields]


def mark_batches(chunk: Chunk, batches: Sequence[int]) -> None:
    """Mark batches as converted: from now on their events count as applied."""
    run_sql(
        """UPDATE upload_batch SET converted_at = now(), run_id = %s::uuid
            WHERE id = ANY(%s::bigint[])""",
        [chunk.run, list(batches)],
    )
