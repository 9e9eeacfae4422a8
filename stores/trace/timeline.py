"""What HQ holds of one customer: state, what is waited for, events in their order."""

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
from stores.models.labels import counted
from stores.models.quarantine import QuarantineStatus
from stores.models.reason import REASONS, explain
from stores.models.staging import StagingStatus
from stores.pipeline.events.kinds import CUSTOMER
from stores.trace.documents import documents_of
from stores.trace.history import CustomerHistory, CustomerOperation, load_history, value_text
from stores.trace.match import matches
from stores.trace.types import (
    Match,
    Trace,
    TraceChannel,
    TraceEvent,
    WaitingFor,
    in_order,
    text_or_none,
)

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


def build_trace(match: Match) -> Trace:
    history = load_history(match)
    created = [account for account in [match.async_account] if account]
    guids = [str(account.pk) for account in history.guids] or created
    return Trace(
        async_accounts=guids,
        account_number=match.account_number,
        company=match.company,
        state=customer_state(history),
        waiting_for=waiting_reason(history),
        events=in_order(events_of(history)),
        channels=channels_of(history),
        documents=documents_of(history.customer, [UUID(guid) for guid in guids]),
    )


def customer_state(history: CustomerHistory) -> str:
    if history.customer:
        if history.customer.state == AccountState.ERASED:
            return "erased"
        return "distributed" if history.deliveries and not history.pending else "synchronized"
    events = [operation.row for operation in history.operations if operation.kind is CUSTOMER]
    if any(row.status == StagingStatus.PENDING and not row.reason for row in events):
        return "not_synchronized"
    if any(row.status == StagingStatus.FAILED for row in events) or any(
        row.table == CUSTOMER.event for row in history.quarantined
    ):
        return "failed"
    return "waiting" if history.operations or history.quarantined else "pending_upload"


def waiting_reason(history: CustomerHistory) -> WaitingFor | None:
    """What is open, the gravest first: failed, waiting for something, on its way."""
    quarantined = [row for row in history.quarantined if row.status == QuarantineStatus.OPEN]
    rows = [operation.row for operation in history.operations]
    failed = [*(row for row in rows if row.status == StagingStatus.FAILED), *quarantined]
    waiting = [row for row in rows if row.status == StagingStatus.PENDING]
    for row in (*failed, *(row for row in waiting if row.reason)):
        known = REASONS.get(row.reason)
        next_step = known.next_step if known else ""
        return WaitingFor(row.reason, explain(row.reason, row.field), next_step, case_id(row))
    if (
        waiting
        and any(operation.kind is CUSTOMER for operation in history.operations)
        and not history.customer
    ):
        return TO_CONVERT
    if waiting:
        return TO_APPLY if history.customer else PARENT_MISSING
    return waiting_for_delivery(history.pending) if history.pending else None


def case_id(row: Any) -> str | None:
    """The id under which a person settles a row: quarantined, or staged and failed."""
    is_open = isinstance(row, Quarantine) or row.status == StagingStatus.FAILED
    return str(row.pk) if is_open else None


def waiting_for_delivery(pending: Sequence[ChannelDatabase]) -> WaitingFor:
    """Which channels lack the account or its latest change, and what is the matter with them."""
    places = ", ".join(database.label for database in pending)
    troubles = "".join(f" {database.last_error}" for database in pending if database.last_error)
    return WaitingFor(
        "not_distributed",
        f"Not delivered yet to {places}.{troubles}",
        "Check the channel; 1010 then delivers automatically."
        if troubles
        else "Run 1010, or wait for its schedule.",
    )


def channels_of(history: CustomerHistory) -> list[TraceChannel]:
    """The enabled channels of the company, and any other that ever got the account."""
    channels = []
    for database in history.databases:
        delivery = history.deliveries.get(database.pk)
        knows = bool(delivery and delivery.delivered_version)
        if knows or (database.is_enabled and database.channel.is_enabled):
            at = delivery.known_since if delivery else None
            channels.append(TraceChannel(database.channel.code, database.label, knows, at))
    return channels


def events_of(history: CustomerHistory) -> Iterator[TraceEvent]:
    yield from session_events([operation.row for operation in history.operations])
    for operation in history.operations:
        yield capture_event(operation)
        yield from outcome_events(operation, history.guids)
    known = {operation.row.pk: operation for operation in history.operations}
    for row in history.quarantined:
        yield quarantine_event(row, known.get(row.event_id))
    for conflict in history.conflicts:
        yield from conflict_events(conflict)
    if history.customer and not history.guids:
        made = f"Account {history.customer} created at headquarters."
        yield TraceEvent(history.customer.created_at, "created", "", made)
    for guid in history.guids:
        is_link = guid.origin == GuidOrigin.LINKED
        text = (
            f"Linked to account {history.customer}."
            if is_link
            else f"Account {history.customer} issued."
        )
        kind, channel = "linked" if is_link else "converted", guid.channel.code
        yield TraceEvent(guid.created_at, kind, channel, text, text_or_none(guid.run_id))
    for database in history.databases:
        if (delivery := history.deliveries.get(database.pk)) and delivery.delivered_at:
            yield from earlier_deliveries(database, delivery)
            yield latest_delivery(database, delivery)


def session_events(rows: Iterable[Any]) -> Iterator[TraceEvent]:
    brought: dict[Any, list[Any]] = defaultdict(list)
    for row in rows:
        if row.session:
            brought[row.session].append(row)
    for session, rows_of_session in brought.items():
        words = Counter(row._meta.db_table.removeprefix("async_") for row in rows_of_session)
        text = ", ".join(counted(count, word) for word, count in words.items())
        yield TraceEvent(
            min(row.staged_at for row in rows_of_session),
            "uploaded",
            rows_of_session[0].source,
            f"Uploaded: {text}.",
            text_or_none(session.run_id),
            str(session.pk),
        )


def capture_event(operation: CustomerOperation) -> TraceEvent:
    """What the till did, when it says it did."""
    offline = ", offline" if operation.row.created_offline else ""
    by = f", by {operation.row.made_by}" if operation.row.made_by else ""
    text = f"{operation.in_short}{offline}{by}."
    return TraceEvent(operation.row.occurred_at, "captured", operation.row.source, text)


def outcome_events(operation: CustomerOperation, guids: Sequence[GuidMap]) -> Iterator[TraceEvent]:
    """What became of an operation at HQ; the event that made the account tells no more of it."""
    row, why = operation.row, explain(operation.row.reason or "", operation.row.field)
    same_run = [guid for guid in guids if row.applied_at and guid.run_id == row.applied_run_id]
    issued = [guid.created_at for guid in same_run]
    kind, text = row.status, f"{operation.subject}: {why}"
    if row.status == StagingStatus.APPLIED:
        if operation.kind is CUSTOMER and operation.before is None and issued:
            return
        kind = {"created": "edited", "deactivated": "removed"}.get(operation.done, operation.done)
        text = f"{operation.in_full}."
    elif row.status == StagingStatus.SUPERSEDED:
        text = f"{operation.in_full}; it arrived too late, and a newer one was kept."
    elif row.status == StagingStatus.ERASED:
        text = f"{operation.subject}: its data was erased."
    elif row.status == StagingStatus.PENDING:
        kind = "waiting"
    if kind != "waiting" or row.reason:
        # In one transaction with its account: shown after it.
        at = max([row.applied_at or row.staged_at, *issued])
        run, case = text_or_none(row.applied_run_id), case_id(row)
        yield TraceEvent(at, kind, row.source, text, run, case=case)


def conflict_events(conflict: EditConflict) -> Iterator[TraceEvent]:
    """Two edits of one field, with both values; and what a person decided."""
    text = (
        f"{conflict.subject}: {value_text(conflict.lost_value)} of {conflict.lost_place} was"
        f" replaced by {value_text(conflict.kept_value)} of {conflict.kept_place}; neither side had"
        " seen the other change."
    )
    if conflict.is_of_removal:
        text = (
            f"{conflict.subject}: edited by {conflict.lost_place}, which had not seen the "
            f"removal by {conflict.kept_place}. It stays removed until someone decides."
        )
    if conflict.clock_skewed:
        text += " A clock was more than 15 minutes off."
    yield TraceEvent(conflict.found_at, "conflict", conflict.lost_place, text)
    if conflict.closed_at and conflict.is_settled_by_person:
        text = f"{conflict.subject}: {conflict.get_choice_display()}, by {conflict.closed_by}"
        yield TraceEvent(
            conflict.closed_at, "decided", "headquarters", f"{text}: {conflict.reason}"
        )


def quarantine_event(row: Quarantine, history: CustomerOperation | None) -> TraceEvent:
    """Why a row was quarantined; of one that HQ holds otherwise, in which fields it differs."""
    text = f"{row.table.removeprefix('async_').capitalize()} quarantined: "
    text += explain(row.reason, row.field)
    if history and (differing := differing_columns(row, history)):
        text += f" It differs in {', '.join(differing)}."
    if row.status != QuarantineStatus.OPEN:
        text += f" ({row.status})"
    session = row.session
    return TraceEvent(
        row.first_seen_at,
        "quarantined",
        row.database.label,
        text,
        text_or_none(session.run_id),
        str(session.pk),
        case_id(row),
    )


def differing_columns(row: Quarantine, history: CustomerOperation) -> list[str]:
    """The columns in which a quarantined row is not like the event of the same id."""
    raw = json.loads(bytes(row.raw))
    return [
        column
        for column in history.kind.columns
        if column in raw
        and comparable_text(raw[column]) != comparable_text(getattr(history.row, column))
    ]


def comparable_text(value: Any) -> str:
    """A value as either engine may write it, so that equal ones look equal."""
    if isinstance(value, bool) or value in (0, 1):
        return "true" if value else "false"
    return "" if value is None else str(value)


def earlier_deliveries(database: ChannelDatabase, delivery: Delivery) -> Iterator[TraceEvent]:
    before = delivery.earlier or []
    runs = DownloadSession.objects.in_bulk([session for _, _, session in before if session])
    for version, at, session in before:
        run = runs.get(UUID(session)) if session else None
        yield TraceEvent(
            datetime.fromisoformat(at),
            "delivered",
            database.label,
            f"Delivered in version {version}." if version else "Delivered; will be sent again.",
            text_or_none(run.run_id) if run else None,
            session,
        )


def latest_delivery(database: ChannelDatabase, delivery: Delivery) -> TraceEvent:
    session = delivery.session
    return TraceEvent(
        delivery.delivered_at or timezone.now(),
        "delivered",
        database.label,
        f"Delivered in version {delivery.delivered_version}.",
        text_or_none(session.run_id) if session else None,
        text_or_none(delivery.session_id),
    )


def trace(ref: str) -> Trace | None:
    """The trace of the customer that a reference means, of several the newest; None if unknown."""
    matching = matches(ref)
    return build_trace(matching[0]) if matching else None
