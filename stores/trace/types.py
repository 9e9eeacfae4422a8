"""The parts of a trace: matches, events, channels, and what the customer is waiting for."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from django.db.models import TextChoices

# The kinds of events, in the order of events with the same time.
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
    """A customer that a reference matches. `at` is when HQ, or a channel, first had it."""

    async_account: str | None
    account_number: str | None
    company: str | None
    at: datetime

    @property
    def ref(self) -> str:
        """A reference that matches this customer only."""
        return self.async_account or f"{self.company}:{self.account_number}"


@dataclass(frozen=True)
class WaitingFor:
    """The reason why the customer is waiting, and the next step.

    `case` is the case id of a failed row, `session` a download session that a person has to decide
    about.
    """

    code: str
    text: str
    next_step: str
    case: str | None = None
    session: str | None = None


@dataclass(frozen=True)
class TraceEvent:
    """One event of a trace: a kind of EVENT_ORDER, its place, and the run and session that did it.

    `case` is the case id of a row that a person may settle.
    """

    at: datetime
    kind: str
    channel: str
    text: str
    run: str | None = None
    session: str | None = None
    case: str | None = None


class MissingCode(TextChoices):
    """The steps of a customer's way to a channel database, as the one that is missing."""

    NOT_UPLOADED = "not_uploaded", "Not uploaded"
    NOT_CONVERTED = "not_converted", "Not converted"
    WAITING = "waiting", "Waiting"
    FAILED = "failed", "Failed"
    OTHER_COMPANY = "other_company", "Another company"
    NOT_SENT = "not_sent", "Sent to no channel"
    NOT_ACTIVE = "not_active", "Not active"
    ARCHIVED = "archived", "Channel archived"
    SWITCHED_OFF = "switched_off", "Switched off"
    EXCLUDED = "excluded", "Excluded"
    PAUSED = "paused", "Downloads paused"
    BLOCKED = "blocked", "Blocked by an incident"
    AWAY = "away", "Channel away"
    REFUSED = "refused", "Refused by the channel"
    LOST = "lost", "Lost by the channel"
    SUSPENDED = "suspended", "Downloads suspended"
    PACKAGE_FAILED = "package_failed", "Package failed"
    PACKAGE_WAITS = "package_waits", "Package waits"
    NOT_PACKAGED = "not_packaged", "Not packaged"


class Action(TextChoices):
    """What a person can do about a missing step on a page."""

    NONE = "", "Nothing"
    PUSH = "push", "Push this customer now"
    CONVERT = "convert", "Convert now"
    RESUME = "resume", "Resume"
    INCIDENT = "incident", "View the incident"
    SESSION = "session", "View the download session"


@dataclass(frozen=True)
class MissingStep:
    """Why a channel database does not have the customer, in sentences, and what helps.

    `target` is the incident or the session that it is about, `command` the words after manage.py
    that do what the page's button does, if there is one.
    """

    code: MissingCode
    text: str
    next_step: str = ""
    action: Action = Action.NONE
    target: str | None = None
    command: str = ""


@dataclass(frozen=True)
class TraceChannel:
    """Whether a channel database has the account, since when, and why not its present version."""

    channel: str
    database: str
    knows_account: bool
    at: datetime | None
    missing: MissingStep | None = None
    # Of the database; only pages need it.
    pk: int | None = None


@dataclass(frozen=True)
class Trace:
    """The trace of one customer. The names of fields and states appear in its JSON."""

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
    """Events by time. Events with the same time are in the order of their kinds."""
    return sorted(events, key=lambda event: (event.at, EVENT_ORDER.index(event.kind)))


def text_or_none(value: Any) -> str | None:
    return None if value is None else str(value)


def trace_as_json(trace: Trace) -> dict[str, Any]:
    """The trace as `trace --json` prints it. Only pages link to cases."""
    document = asdict(trace)
    if document["waiting_for"]:
        del document["waiting_for"]["case"]
    for event in document["events"]:
        del event["case"]
        event["at"] = time_as_json(event["at"])
    document["channels"] = [channel_as_json(channel) for channel in trace.channels]
    return document


def channel_as_json(channel: TraceChannel) -> dict[str, Any]:
    document = asdict(channel) | {"at": time_as_json(channel.at)}
    del document["pk"]
    return document


def time_as_json(moment: datetime | None) -> str | None:
    return moment.astimezone(UTC).isoformat() if moment else None
