"""What a trace is made of: matches, events, channels, and why it is not at its end."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

# Of events at the same moment, the order in which they happen.
EVENT_ORDER = (
    "captured",
    "uploaded",
    "quarantined",
    "created",
    "converted",
    "linked",
    "added",
    "edited",
    "removed",
    "superseded",
    "conflict",
    "decided",
    "erased",
    "failed",
    "waiting",
    "delivered",
    "pending_upload",
    "unreachable",
)


@dataclass(frozen=True)
class Match:
    """A customer that a reference may mean; `at` is when HQ, or a channel, first saw it."""

    async_account: str | None
    account_number: str | None
    company: str | None
    at: datetime

    @property
    def ref(self) -> str:
        """A reference that means this customer only."""
        return self.async_account or f"{self.company}:{self.account_number}"


@dataclass(frozen=True)
class WaitingFor:
    """Why the customer is not everywhere yet, and what to do; `case` is the row to correct."""

    code: str
    text: str
    next_step: str
    case: str | None = None


@dataclass(frozen=True)
class TraceEvent:
    """Something that happened: a word of EVENT_ORDER, where, and the run and session that did it.

    `case` is the row that a person may settle, where it is about one.
    """

    at: datetime
    kind: str
    channel: str
    text: str
    run: str | None = None
    session: str | None = None
    case: str | None = None


@dataclass(frozen=True)
class TraceChannel:
    channel: str
    database: str
    knows_account: bool
    at: datetime | None


@dataclass(frozen=True)
class Trace:
    """The history of one customer; the words are the contract's."""

    async_accounts: list[str]
    account_number: str | None
    company: str | None
    state: str
    waiting_for: WaitingFor | None
    events: list[TraceEvent]
    channels: list[TraceChannel]
    documents: list[dict[str, Any]] = field(default_factory=list)


def newest_first(matches: Iterable[Match]) -> list[Match]:
    return sorted(matches, key=lambda match: match.at, reverse=True)


def in_order(events: Iterable[TraceEvent]) -> list[TraceEvent]:
    """Events by time; what happened at one moment, in the order in which it happens."""
    return sorted(events, key=lambda event: (event.at, EVENT_ORDER.index(event.kind)))


def text_or_none(value: Any) -> str | None:
    return None if value is None else str(value)


def trace_as_json(trace: Trace) -> dict[str, Any]:
    """The trace as `trace --json` prints it (contract, section 4)."""
    document = asdict(trace)
    for part in (*document["events"], *filter(None, [document["waiting_for"]])):
        # Only pages lead from the trace to the row.
        del part["case"]
    for part in (*document["events"], *document["channels"]):
        part["at"] = part["at"] and part["at"].astimezone(UTC).isoformat()
    return document
