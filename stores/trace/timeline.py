"""What HQ holds of one customer, told: state, what is waited for, events in their order."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils import timezone

from stores.models import (
    ChannelDatabase,
    Delivery,
    DownloadSession,
    EditConflict,
    GuidMap,
    Quarantine,
)
from stores.models.customer import AccountState, GuidOrigin
from stores.models.quarantine import QuarantineStatus
from stores.models.reason import REASONS, explain
from stores.models.staging import StagingStatus
from stores.pipeline.events.kinds import CUSTOMER
from stores.trace.documents import documents_of
from stores.trace.history import Act, Holdings, gather, shown
from stores.trace.match import matches
from stores.trace.types import Match, Trace, TraceChannel, TraceEvent, WaitingFor, in_order, text

TO_CONVERT = WaitingFor(
    "not_synchronized",
    "Uploaded, without an account number yet.",
    "Run Synchronize customers and channel requests, or wait for its schedule.",
)
TO_APPLY = WaitingFor(
    "not_applied", ("An edit has been uploaded but not applied yet."), TO_CONVERT.next_step
)
PARENT_MISSING = WaitingFor(
    "parent_missing", REASONS["parent_missing"].text, REASONS["parent_missing"].next_step
)


def story(match: Match) -> Trace:
    """The story of one customer."""
    held = gather(match)
    created = [one for one in [match.async_account] if one]
    guids = [str(one.pk) for one in held.guids] or created
    return Trace(
        async_accounts=guids,
        account_number=match.account_number,
        company=match.company,
        state=state_of(held),
        waiting_for=reason_to_wait(held),
        events=in_order(events_of(held)),
        channels=channels_of(held),
        documents=documents_of(held.customer, [UUID(guid) for guid in guids]),
    )


def state_of(held: Holdings) -> str:
    """The state of the customer, in the contract's words."""
    if held.customer:
        if held.customer.state == AccountState.ERASED:
            return "erased"
        return "distributed" if held.deliveries and not held.owed else "synchronized"
    events = [act.row for act in held.acts if act.kind is CUSTOMER]
    if any(row.status == StagingStatus.PENDING and not row.reason for row in events):
        return "not_synchronized"
    if any(row.status == StagingStatus.FAILED for row in events) or any(
        row.table == CUSTOMER.event for row in held.aside
    ):
        return "failed"
    return "waiting" if held.acts or held.aside else "pending_upload"


def reason_to_wait(held: Holdings) -> WaitingFor | None:
    """What is open, the gravest first: failed, waiting for something, on its way."""
    aside = [row for row in held.aside if row.status == QuarantineStatus.OPEN]
    rows = [act.row for act in held.acts]
    failed = [*(row for row in rows if row.status == StagingStatus.FAILED), *aside]
    waiting = [row for row in rows if row.status == StagingStatus.PENDING]
    for row in (*failed, *(row for row in waiting if row.reason)):
        known = REASONS.get(row.reason)
        next_step = known.next_step if known else ""
        return WaitingFor(row.reason, explain(row.reason, row.field), next_step, case_of(row))
    if waiting and any(act.kind is CUSTOMER for act in held.acts) and not held.customer:
        return TO_CONVERT
    if waiting:
        return TO_APPLY if held.customer else PARENT_MISSING
    return to_deliver(held.owed) if held.owed else None


def case_of(row: Any) -> str | None:
    """The id under which a person settles a row: quarantined, or staged and failed."""
    is_open = isinstance(row, Quarantine) or row.status == StagingStatus.FAILED
    return str(row.pk) if is_open else None


def to_deliver(owed: Sequence[ChannelDatabase]) -> WaitingFor:
    """Which channels lack the account or its latest change, and what is the matter with them."""
    places = ", ".join(database.label for database in owed)
    troubles = "".join(f" {database.last_error}" for database in owed if database.last_error)
    return WaitingFor(
        "not_distributed",
        f"Not delivered yet to {places}.{troubles}",
        "Check the channel; 1010 then delivers automatically."
        if troubles
        else "Run 1010, or wait for its schedule.",
    )


def channels_of(held: Holdings) -> list[TraceChannel]:
    """The enabled channels of the company, and any other that ever got the account."""
    found = []
    for database in held.databases:
        delivery = held.deliveries.get(database.pk)
        knows = bool(delivery and delivery.delivered_version)
        if knows or (database.is_enabled and database.channel.is_enabled):
            at = delivery.known_since if delivery else None
            found.append(TraceChannel(database.channel.code, database.label, knows, at))
    return found


def events_of(held: Holdings) -> Iterator[TraceEvent]:
    """Everything that happened to the customer."""
    yield from uploads([act.row for act in held.acts])
    for act in held.acts:
        yield captured(act)
        yield from outcome(act, held.guids)
    known = {act.row.pk: act for act in held.acts}
    for row in held.aside:
        yield quarantined(row, known.get(row.event_id))
    for conflict in held.conflicts:
        yield from contended(conflict)
    if held.customer and not held.guids:
        made = f"Account {held.customer} created at headquarters."
        yield TraceEvent(held.customer.created_at, "created", "", made)
    for one in held.guids:
        is_link = one.origin == GuidOrigin.LINKED
        told = (
            f"Linked to account {held.customer}." if is_link else f"Account {held.customer} issued."
        )
        kind, channel = "linked" if is_link else "converted", one.channel.code
        yield TraceEvent(one.created_at, kind, channel, told, text(one.run_id))
    for database in held.databases:
        if (delivery := held.deliveries.get(database.pk)) and delivery.delivered_at:
            yield from earlier(database, delivery)
            yield delivered(database, delivery)


PLURALS = {"address": "addresses"}


def uploads(rows: Iterable[Any]) -> Iterator[TraceEvent]:
    """One event for all that a session brought."""
    brought: dict[Any, list[Any]] = defaultdict(list)
    for row in rows:
        if row.session:
            brought[row.session].append(row)
    for session, found in brought.items():
        words = Counter(row._meta.db_table.removeprefix("async_") for row in found)
        told = ", ".join(
            f"{count} {word if count == 1 else PLURALS.get(word, word + 's')}"
            for word, count in words.items()
        )
        yield TraceEvent(
            min(row.staged_at for row in found),
            "uploaded",
            found[0].source,
            f"Uploaded: {told}.",
            text(session.run_id),
            str(session.pk),
        )


def captured(act: Act) -> TraceEvent:
    """What the till did, when it says it did."""
    offline = ", offline" if act.row.created_offline else ""
    by = f", by {act.row.made_by}" if act.row.made_by else ""
    told = f"{act.in_short}{offline}{by}."
    return TraceEvent(act.row.occurred_at, "captured", act.row.source, told)


def outcome(act: Act, guids: Sequence[GuidMap]) -> Iterator[TraceEvent]:
    """What became of an operation at HQ; the event that made the account tells no more of it."""
    row, why = act.row, explain(act.row.reason or "", act.row.field)
    same_run = [one for one in guids if row.applied_at and one.run_id == row.applied_run_id]
    issued = [one.created_at for one in same_run]
    kind, told = row.status, f"{act.subject}: {why}"
    if row.status == StagingStatus.APPLIED:
        if act.kind is CUSTOMER and act.before is None and issued:
            return
        kind = {"created": "edited", "deactivated": "removed"}.get(act.done, act.done)
        told = f"{act.in_full}."
    elif row.status == StagingStatus.SUPERSEDED:
        told = f"{act.in_full}; it arrived too late, and a newer one was kept."
    elif row.status == StagingStatus.ERASED:
        told = f"{act.subject}: its data was erased."
    elif row.status == StagingStatus.PENDING:
        kind = "waiting"
    if kind != "waiting" or row.reason:
        # In one transaction with its account: told after it.
        at = max([row.applied_at or row.staged_at, *issued])
        run, case = text(row.applied_run_id), case_of(row)
        yield TraceEvent(at, kind, row.source, told, run, case=case)


def contended(conflict: EditConflict) -> Iterator[TraceEvent]:
    """Two edits of one field, with both values; and what a person decided."""
    told = (
        f"{conflict.subject}: {shown(conflict.lost_value)} of {conflict.lost_place} was replaced by"
        f" {shown(conflict.kept_value)} of {conflict.kept_place}; neither side had seen the other"
        " change."
    )
    if conflict.is_of_removal:
        told = (
            f"{conflict.subject}: edited by {conflict.lost_place}, which had not seen the "
            f"removal by {conflict.kept_place}. It stays removed until someone decides."
        )
    if conflict.is_clock_off:
        told += " A clock was more than 15 minutes off."
    yield TraceEvent(conflict.found_at, "conflict", conflict.lost_place, told)
    if conflict.closed_at and conflict.is_settled_by_person:
        told = f"{conflict.subject}: {conflict.get_choice_display()}, by {conflict.closed_by}"
        yield TraceEvent(
            conflict.closed_at, "decided", "headquarters", f"{told}: {conflict.reason}"
        )


def quarantined(row: Quarantine, held: Act | None) -> TraceEvent:
    """Why a row was set aside; of one that HQ holds otherwise, in which fields it differs."""
    told = f"{row.table.removeprefix('async_').capitalize()} quarantined: "
    told += explain(row.reason, row.field)
    if held and (differing := differences(row, held)):
        told += f" It differs in {', '.join(differing)}."
    if row.status != QuarantineStatus.OPEN:
        told += f" ({row.status})"
    session = row.session
    return TraceEvent(
        row.first_seen_at,
        "quarantined",
        row.database.label,
        told,
        text(session.run_id),
        str(session.pk),
        case_of(row),
    )


def differences(row: Quarantine, held: Act) -> list[str]:
    """The columns in which a quarantined row is not like the event of the same id."""
    raw = json.loads(bytes(row.raw))
    return [
        column
        for column in held.kind.columns
        if column in raw and plain(raw[column]) != plain(getattr(held.row, column))
    ]


def plain(value: Any) -> str:
    """A value as either engine may write it, so that equal ones look equal."""
    if isinstance(value, bool) or value in (0, 1):
        return "true" if value else "false"
    return "" if value is None else str(value)


def earlier(database: ChannelDatabase, delivery: Delivery) -> Iterator[TraceEvent]:
    """The versions of the customer that a channel got before."""
    before = delivery.earlier or []
    runs = DownloadSession.objects.in_bulk([session for _, _, session in before if session])
    for version, at, session in before:
        found = runs.get(UUID(session)) if session else None
        yield TraceEvent(
            datetime.fromisoformat(at),
            "delivered",
            database.label,
            f"Delivered in version {version}." if version else "Delivered; to be sent again.",
            text(found.run_id) if found else None,
            session,
        )


def delivered(database: ChannelDatabase, delivery: Delivery) -> TraceEvent:
    """The latest version of the customer that a channel got."""
    session = delivery.session
    return TraceEvent(
        delivery.delivered_at or timezone.now(),
        "delivered",
        database.label,
        f"Delivered in version {delivery.delivered_version}.",
        text(session.run_id) if session else None,
        text(delivery.session_id),
    )


def trace(ref: str) -> Trace | None:
    """The story of the customer that a reference means, of several the newest; None if unknown."""
    found = matches(ref)
    return story(found[0]) if found else None
