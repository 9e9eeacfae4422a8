"""What the channels themselves show of a customer, joined to what HQ knows; for commands alone."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from uuid import UUID

from django.utils import timezone

from stores.models import GuidMap
from stores.models.characters import normalize_key
from stores.models.search import parse_guid, phone_digits
from stores.pipeline.channel_search import ChannelResult, Criteria, KnownAccount, PendingEvent
from stores.trace.match import matches, matches_by_guid
from stores.trace.types import (
    Match,
    Trace,
    TraceChannel,
    TraceEvent,
    WaitingFor,
    in_order,
    newest_first,
    text_or_none,
)

UNKNOWN_AT_HQ = WaitingFor(
    "unknown_at_headquarters",
    "A channel knows this customer, but headquarters does not.",
    "Run verify: headquarters may have been restored from a backup.",
)


def search_criteria(ref: str, matches: Sequence[Match]) -> Criteria:
    """What to look for in the channels: the reference itself, and the ids of those it matches."""
    accounts = [
        *(match.async_account for match in matches),
        text_or_none(parse_guid(ref)),
    ]
    guids = {guid for guid in accounts if guid}
    linked = GuidMap.objects.filter(customer__guids__in=[UUID(guid) for guid in guids])
    name = normalize_key(ref) if is_name(ref, matches) else ""
    return Criteria(
        async_accounts=sorted(guids | {str(row.pk) for row in linked}),
        account_numbers=[match.account_number for match in matches if match.account_number],
        email=name if "@" in name else "",
        phone=phone_digits(name),
    )


def is_name(ref: str, matches: Sequence[Match]) -> bool:
    """Whether a reference is what people remember, and may fit more of them than HQ knows."""
    accounts = {match.account_number for match in matches}
    account = normalize_key(ref).rpartition(":")[2]
    return parse_guid(ref) is None and not {account, account.upper()} & accounts


def candidates(ref: str, results: Iterable[ChannelResult]) -> list[Match]:
    """The matches of a reference, those that only a channel knows included; newest first."""
    at_hq = matches(ref)
    if at_hq and not is_name(ref, at_hq):
        return at_hq
    by_ref = {match.ref: match for match in at_hq}
    for result in results:
        seen = [(row.async_account, row.occurred_at) for row in result.pending]
        seen += [(row.async_account, row.received_at) for row in result.known if not at_hq]
        for known_at, at in seen:
            if guid := parse_guid(known_at or ""):
                company = result.database.channel.company_id
                match = Match(str(guid), None, company, at or timezone.now())
                for known in matches_by_guid([guid]) or [match]:
                    by_ref.setdefault(known.ref, known)
    return newest_first(by_ref.values())


def with_channel_results(trace: Trace, results: Iterable[ChannelResult]) -> Trace:
    """The trace with what the channels themselves showed of the customer."""
    events, channels = list(trace.events), {channel.database: channel for channel in trace.channels}
    now, waits = timezone.now(), []
    for result in results:
        database = result.database
        if result.error:
            events.append(TraceEvent(now, "unreachable", database.label, result.error))
            continue
        if database.channel.company_id != trace.company:
            continue
        unfetched = [row for row in result.pending if is_about(row, trace)]
        received = [row.received_at for row in result.known if is_about(row, trace)]
        for row in unfetched:
            text = f"{row.kind.capitalize()} event is still waiting in the channel."
            at = row.occurred_at or now
            events.append(TraceEvent(at, "pending_upload", database.label, text))
        waits += [database.label] if unfetched else []
        channels[database.label] = TraceChannel(
            database.channel.code, database.label, bool(received), min(received, default=None)
        )
    return replace(
        trace,
        events=in_order(events),
        channels=list(channels.values()),
        waiting_for=trace.waiting_for
        or waiting_for_upload(waits, is_known=trace.state != "pending_upload"),
    )


def is_about(row: PendingEvent | KnownAccount, trace: Trace) -> bool:
    """Whether a row of a channel of the customer's company is about the customer."""
    return row.async_account in trace.async_accounts or (
        trace.account_number is not None and row.account_number == trace.account_number
    )


def waiting_for_upload(waits: Sequence[str], *, is_known: bool) -> WaitingFor | None:
    """What is wrong when a channel knows more than HQ."""
    if waits:
        return WaitingFor(
            "pending_upload",
            f"Not uploaded yet from {', '.join(waits)}.",
            "Run P-0001, or wait for its schedule.",
        )
    return None if is_known else UNKNOWN_AT_HQ
