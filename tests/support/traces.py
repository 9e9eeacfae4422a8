"""Traces of customers, as Python objects and as the JSON document of the command."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from stores.trace.match import matches
from stores.trace.timeline import build_trace
from stores.trace.types import Trace


def minute(number: int) -> datetime:
    """A moment of one morning."""
    return datetime(2026, 11, 20, 9, tzinfo=UTC) + timedelta(minutes=number)


def trace(ref: str) -> Trace | None:
    """The trace of the newest customer that a reference matches; None if there is no match."""
    customers = matches(ref)
    return build_trace(customers[0]) if customers else None


def get_trace(ref: object) -> Trace:
    """The trace of the customer whom a GUID, an account or a contact means."""
    customer_trace = trace(str(ref))
    assert customer_trace is not None
    return customer_trace


def trace_document(command: Callable[..., str], *arguments: object) -> dict:
    """What the command `trace` prints as JSON."""
    return json.loads(command("trace", *map(str, arguments), "--json"))


def kinds_of(trace: Trace) -> list[str]:
    """The kinds of the events, in order."""
    return [event.kind for event in trace.events]


def texts_of(trace: Trace, kind: str) -> list[str]:
    """The texts of all events of a kind, in order."""
    return [event.text for event in trace.events if event.kind == kind]


def knows_account(trace: Trace) -> dict[str, bool]:
    """Whether each channel knows the customer's account, by the label of its database."""
    return {channel.database: channel.knows_account for channel in trace.channels}
