"""The whole story of one customer, told from what HQ holds. Reads every station, writes none.

A reference is a GUID (any case, braces allowed), an account number (COMPANY:ACCOUNT where two
companies have it), the number of a sale, receipt or order that names the customer, an e-mail
address in any case, or a phone number by its digits. GUIDs, accounts and documents come first;
e-mails and phones may fit several people, so `matches` lists them.

Texts name fields and no values. Only what an edit changed is told as old -> new: a trace is for
people who may see the customer. What channels hold beyond HQ's knowledge is looked up by
`stores.pipeline.channel_search`, for commands alone, and joined in by `with_sightings`.
"""

from dataclasses import asdict
from datetime import UTC
from typing import Any

from stores.trace.documents import MOST_SHOWN as MOST_DOCUMENTS
from stores.trace.find import matches
from stores.trace.parts import Match, Trace, TraceChannel, TraceEvent, WaitingFor
from stores.trace.sightings import candidates, wanted, with_sightings
from stores.trace.tell import story

__all__ = [
    "MOST_DOCUMENTS",
    "Match",
    "Trace",
    "TraceChannel",
    "TraceEvent",
    "WaitingFor",
    "as_json",
    "candidates",
    "matches",
    "story",
    "trace",
    "wanted",
    "with_sightings",
]


def trace(ref: str) -> Trace | None:
    """The story of the customer that a reference means, of several the newest; None if unknown."""
    found = matches(ref)
    return story(found[0]) if found else None


def as_json(found: Trace) -> dict[str, Any]:
    """The trace as `trace --json` prints it (contract, section 4)."""
    document = asdict(found)
    for part in (*document["events"], *filter(None, [document["waiting_for"]])):
        # Only pages lead from the story to the row.
        del part["case"]
    for part in (*document["events"], *document["channels"]):
        part["at"] = part["at"] and part["at"].astimezone(UTC).isoformat()
    return document
