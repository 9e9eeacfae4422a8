"""Add to a trace what the channels themselves have of a customer. Only commands use it."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from uuid import UUID

from django.utils import timezone

from stores.models import ChannelDatabase, GuidMap
from stores.models.search import parse_guid, phone_digits
from stores.pipeline.channel_search import ChannelResult, Criteria, KnownAccount, PendingEvent
from stores.pipeline.events.rules import STAGING_MODELS
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
from stores.values.characters import normalize_key

UNKNOWN_AT_HQ = WaitingFor(
    "unknown_at_headquarters",
    "A channel knows this customer, but headquarters does not.",
    "Run verify: headquarters may have been restored from a backup.",
)


def search_criteria(ref: str, matches: Sequence[Match]) -> Criteria:
    """The criteria of a search in the channels: the reference, and the ids of its matches."""
    guid_of_ref = text_or_none(parse_guid(ref))
    guids = {guid for guid in [guid_of_ref, *(match.async_account for match in matches)] if guid}
    linked = GuidMap.objects.filter(customer__guids__in=[UUID(guid) for guid in guids])
    name = normalize_key(ref) if is_name(ref, matches) else ""
    return Criteria(
        async_accounts=sorted(guids | {str(row.pk) for row in linked}),
        account_numbers=[match.account_number for match in matches if match.account_number],
        email=name if "@" in name else "",
        phone=phone_digits(name),
    )


def is_name(ref: str, matches: Sequence[Match]) -> bool:
    """Whether a reference is an e-mail address or a phone number, which several people may have."""
    accounts = {match.account_number for match in matches}
    account = normalize_key(ref).rpartition(":")[2]
    return parse_guid(ref) is None and not {account, account.upper()} & accounts


def candidates(ref: str, results: Iterable[ChannelResult]) -> list[Match]:
    """The matches of a reference, newest first, including those that only a channel has."""
    at_hq = matches(ref)
    if at_hq and not is_name(ref, at_hq):
        return at_hq
    by_ref = {match.ref: match for match in at_hq}
    for result in results:
        accounts = [(row.async_account, row.occurred_at) for row in result.pending]
        if not at_hq:
            accounts += [(row.async_account, row.received_at) for row in result.known]
        for async_account, at in accounts:
            if guid := parse_guid(async_account or ""):
                company = result.database.channel.company_id
                unknown = Match(str(guid), None, company, at or timezone.now())
                for match in matches_by_guid([guid]) or [unknown]:
                    by_ref.setdefault(match.ref, match)
    return newest_first(by_ref.values())


def with_channel_results(trace: Trace, results: Iterable[ChannelResult]) -> Trace:
    """The trace with the customer's events and accounts that the channels have."""
    now = timezone.now()
    results = list(results)
    fetched = ids_at_hq([row for result in results for row in result.pending])
    events = list(trace.events)
    channels = {channel.database: channel for channel in trace.channels}
    waiting: list[ChannelDatabase] = []
    for result in results:
        database = result.database
        if result.error:
            events.append(TraceEvent(now, "unreachable", database.label, result.error))
            continue
        if database.channel.company_id != trace.company:
            continue
        unfetched = [
            row for row in result.pending if is_about(row, trace) and row.event_id not in fetched
        ]
        received = [row.received_at for row in result.known if is_about(row, trace)]
        for row in unfetched:
            text = f"{row.kind.capitalize()} event is still waiting in the channel."
            at = row.occurred_at or now
            events.append(TraceEvent(at, "pending_upload", database.label, text))
        if unfetched:
            waiting.append(database)
        at_hq = channels.get(database.label)
        channels[database.label] = TraceChannel(
            database.channel.code,
            database.label,
            bool(received),
            min(received, default=None),
            at_hq.missing if at_hq else None,
        )
    is_known = trace.state != "pending_upload"
    return replace(
        trace,
        events=in_order(events),
        channels=list(channels.values()),
        waiting_for=trace.waiting_for or waiting_for_upload(waiting, is_known=is_known),
    )


def ids_at_hq(rows: Sequence[PendingEvent]) -> set[str]:
    """The ids of pending events that headquarters has already, from another database.

    A till merges what a register wrote offline into its channel's database, so both have it.
    """
    ids: dict[str, list[UUID]] = defaultdict(list)
    for row in rows:
        if event_id := parse_guid(row.event_id or ""):
            ids[row.kind].append(event_id)
    staged = (STAGING_MODELS[kind].objects.filter(pk__in=ids[kind]) for kind in ids)
    return {str(event_id) for events in staged for event_id in events.values_list("pk", flat=True)}


def is_about(row: PendingEvent | KnownAccount, trace: Trace) -> bool:
    """Whether a row of a channel of the customer's company is about the customer."""
    return row.async_account in trace.async_accounts or (
        trace.account_number is not None and row.account_number == trace.account_number
    )


def waiting_for_upload(
    databases: Sequence[ChannelDatabase], *, is_known: bool
) -> WaitingFor | None:
    """What a customer waits for, if these channel databases have events that are not uploaded."""
    if databases:
        labels = ", ".join(database.label for database in databases)
        paused = [database for database in databases if database.uploads_paused]
        sentences = [
            f"Uploads from {database.label} are paused: {database.uploads_pause_reason}"
            for database in paused
        ]
        return WaitingFor(
            "pending_upload",
            " ".join([f"Not uploaded yet from {labels}.", *sentences]),
            "Resume the uploads when the reason is gone."
            if paused
            else "Run P-0001, or wait for its schedule.",
        )
    return None if is_known else UNKNOWN_AT_HQ
