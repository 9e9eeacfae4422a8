"""What the channels themselves show of a customer, joined to what HQ knows; for commands alone."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from uuid import UUID

from django.utils import timezone

from stores.models import GuidMap
from stores.models.characters import tidy_key
from stores.models.search import phone_digits
from stores.pipeline.channel_search import ChannelResult, Criteria, KnownAccount, PendingEvent
from stores.trace.match import by_guids, guid_of, matches
from stores.trace.types import (
    Match,
    Trace,
    TraceChannel,
    TraceEvent,
    WaitingFor,
    in_order,
    newest_first,
    text,
)

FORGOTTEN = WaitingFor(
    "unknown_at_headquarters",
    "A channel knows this customer, but headquarters does not.",
    "Run verify: headquarters may have been restored from a backup.",
)


def wanted(ref: str, found: Sequence[Match]) -> Criteria:
    """What to look for in the channels: the reference itself, and the ids of those it matches."""
    said = [*(match.async_account for match in found), text(guid_of(tidy_key(ref)))]
    guids = {guid for guid in said if guid}
    linked = GuidMap.objects.filter(customer__guids__in=[UUID(guid) for guid in guids])
    name = tidy_key(ref) if is_name(ref, found) else ""
    return Criteria(
        async_accounts=sorted(guids | {str(one.pk) for one in linked}),
        account_numbers=[match.account_number for match in found if match.account_number],
        email=name if "@" in name else "",
        phone=phone_digits(name),
    )


def is_name(ref: str, found: Sequence[Match]) -> bool:
    """Whether a reference is what people remember, and may fit more of them than HQ knows."""
    accounts = {match.account_number for match in found}
    account = tidy_key(ref).rpartition(":")[2]
    return guid_of(tidy_key(ref)) is None and not {account, account.upper()} & accounts


def candidates(ref: str, sightings: Iterable[ChannelResult]) -> list[Match]:
    """The matches of a reference, those that only a channel knows included; newest first."""
    at_hq = matches(ref)
    if at_hq and not is_name(ref, at_hq):
        return at_hq
    found = {match.ref: match for match in at_hq}
    for sighting in sightings:
        seen = [(row.async_account, row.occurred_at) for row in sighting.pending]
        seen += [(row.async_account, row.received_at) for row in sighting.known if not at_hq]
        for said, at in seen:
            if guid := guid_of(said or ""):
                company = sighting.database.channel.company_id
                match = Match(str(guid), None, company, at or timezone.now())
                for known in by_guids([guid]) or [match]:
                    found.setdefault(known.ref, known)
    return newest_first(found.values())


def with_sightings(found: Trace, sightings: Iterable[ChannelResult]) -> Trace:
    """The trace with what the channels themselves showed of the customer."""
    events, channels = list(found.events), {one.database: one for one in found.channels}
    now, waits = timezone.now(), []
    for sighting in sightings:
        database = sighting.database
        if sighting.error:
            events.append(TraceEvent(now, "unreachable", database.label, sighting.error))
            continue
        if database.channel.company_id != found.company:
            continue
        unfetched = [row for row in sighting.pending if is_about(row, found)]
        received = [row.received_at for row in sighting.known if is_about(row, found)]
        for row in unfetched:
            told = f"{row.kind.capitalize()} event is still waiting in the channel."
            at = row.occurred_at or now
            events.append(TraceEvent(at, "pending_upload", database.label, told))
        waits += [database.label] if unfetched else []
        channels[database.label] = TraceChannel(
            database.channel.code, database.label, bool(received), min(received, default=None)
        )
    return replace(
        found,
        events=in_order(events),
        channels=list(channels.values()),
        waiting_for=found.waiting_for or to_upload(waits, is_known=found.state != "pending_upload"),
    )


def is_about(row: PendingEvent | KnownAccount, found: Trace) -> bool:
    """Whether a row of a channel of the customer's company is about the customer."""
    return row.async_account in found.async_accounts or (
        found.account_number is not None and row.account_number == found.account_number
    )


def to_upload(waits: Sequence[str], *, is_known: bool) -> WaitingFor | None:
    """What is wrong when a channel knows more than HQ."""
    if waits:
        return WaitingFor(
            "pending_upload",
            f"Not uploaded yet from {', '.join(waits)}.",
            "Run P-0001, or wait for its schedule.",
        )
    return None if is_known else FORGOTTEN
