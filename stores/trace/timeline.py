"""Build the trace of one customer: its state, what it is waiting for, and all events in order."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC
from typing import Any
from uuid import UUID

from stores.messages.labels import counted
from stores.messages.reasons import REASONS, explain
from stores.models import (
    Channel,
    ChannelDatabase,
    Customer,
    CustomerDelivery,
    EditConflict,
    GuidMap,
    Quarantine,
)
from stores.models.customer import AccountState, GuidOrigin
from stores.models.quarantine import QuarantineStatus
from stores.models.staging import Origin, StagingStatus
from stores.pipeline.events.kinds import CUSTOMER
from stores.trace.distribution import Distribution, load_distribution
from stores.trace.documents import documents_of
from stores.trace.history import CustomerHistory, load_history
from stores.trace.missing import NEXT_STEPS, OWN_COMPANY, missing_step, obstacles_to
from stores.trace.operations import CustomerOperation, value_text
from stores.trace.types import (
    Action,
    Match,
    MissingCode,
    MissingStep,
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
    "not_applied", "An edit has been uploaded but not applied yet.", TO_CONVERT.next_step
)
PARENT_MISSING = WaitingFor(
    "parent_missing", REASONS["parent_missing"].text, REASONS["parent_missing"].next_step
)


# What a customer without an account waits for, by the state of the trace, and what helps.
CODES_OF_STATES = {
    "pending_upload": MissingCode.NOT_UPLOADED,
    "not_synchronized": MissingCode.NOT_CONVERTED,
    "failed": MissingCode.FAILED,
}
COMMANDS = {
    MissingCode.NOT_UPLOADED: "run_job P-0001",
    MissingCode.NOT_CONVERTED: "run_job sync-customers",
}


def build_trace(match: Match, *, with_errors: bool = True) -> Trace:
    """The trace of a customer; not everybody may see the last errors of channels in it."""
    history = load_history(match)
    created = [account for account in [match.async_account] if account]
    guids = [str(account.pk) for account in history.guids] or created
    return Trace(
        async_accounts=guids,
        account_number=match.account_number,
        company=match.company,
        state=customer_state(history),
        waiting_for=waiting_reason(history, with_errors=with_errors),
        events=in_order(events_of(history)),
        channels=channels_of(history, with_errors=with_errors),
        documents=documents_of(history.customer, [UUID(guid) for guid in guids]),
    )


def customer_state(history: CustomerHistory) -> str:
    if history.customer:
        if history.customer.state == AccountState.ERASED:
            return "erased"
        return "distributed" if history.is_distributed else "synchronized"
    events = [operation.row for operation in history.operations if operation.kind is CUSTOMER]
    if any(row.status == StagingStatus.PENDING and not row.reason for row in events):
        return "not_synchronized"
    if any(row.status == StagingStatus.FAILED for row in events) or any(
        row.table == CUSTOMER.event for row in history.quarantined
    ):
        return "failed"
    return "waiting" if history.operations or history.quarantined else "pending_upload"


def waiting_reason(history: CustomerHistory, *, with_errors: bool) -> WaitingFor | None:
    """The first thing that is open: a failed row, a row with a reason, or a step still to come."""
    rows = [operation.row for operation in history.operations]
    failed = [row for row in rows if row.status == StagingStatus.FAILED]
    quarantined = [row for row in history.quarantined if row.status == QuarantineStatus.OPEN]
    pending = [row for row in rows if row.status == StagingStatus.PENDING]
    explained = [*failed, *quarantined, *(row for row in pending if row.reason)]
    if explained:
        return waiting_for_reason(explained[0])
    if pending:
        if history.customer:
            return TO_APPLY
        has_own_event = any(operation.kind is CUSTOMER for operation in history.operations)
        return TO_CONVERT if has_own_event else PARENT_MISSING
    return waiting_for_delivery(history, with_errors=with_errors) if history.pending else None


def waiting_for_reason(row: Any) -> WaitingFor:
    """The reason of a staged or quarantined row, and what to do about it."""
    known = REASONS.get(row.reason)
    next_step = known.next_step if known else ""
    return WaitingFor(row.reason, explain(row.reason, row.field), next_step, case_id(row))


def case_id(row: Any) -> str | None:
    """The case id of a quarantined row or a failed event. Other events have none."""
    is_open = isinstance(row, Quarantine) or row.status == StagingStatus.FAILED
    return str(row.pk) if is_open else None


def waiting_for_delivery(history: CustomerHistory, *, with_errors: bool) -> WaitingFor:
    """The channels that lack the account or its latest change, and why."""
    distribution = history.distribution
    obstacles = [
        obstacle
        for database in history.pending
        for obstacle in obstacles_to(database, distribution, with_errors=with_errors)
        if obstacle.code not in NEXT_STEPS
    ]
    labels = ", ".join(database.label for database in history.pending)
    sentences = [f"Not delivered yet to {labels}.", *(obstacle.text for obstacle in obstacles)]
    # Each advice once, in their order.
    steps = dict.fromkeys(obstacle.next_step for obstacle in obstacles if obstacle.next_step)
    suspended = [
        distribution.suspended[database.pk]
        for database in history.pending
        if database.pk in distribution.suspended
    ]
    return WaitingFor(
        "not_distributed",
        " ".join(sentences),
        " ".join(steps) or "Run 1010, or wait for its schedule.",
        session=str(suspended[0].pk) if suspended else None,
    )


def channels_of(history: CustomerHistory, *, with_errors: bool) -> list[TraceChannel]:
    """The recipients of the company, and all others that received the account."""
    return [
        trace_channel(database, history.distribution, with_errors=with_errors)
        for database in history.databases
        if database in history.recipients or database.pk in history.distribution.held
    ]


def trace_channel(
    database: ChannelDatabase, distribution: Distribution, *, with_errors: bool = True
) -> TraceChannel:
    """Whether a database has the account, since when, and what is missing if it does not."""
    held = distribution.held.get(database.pk)
    return TraceChannel(
        database.channel.code,
        database.label,
        bool(held),
        held[0].delivered_at if held else None,
        missing_step(database, distribution, with_errors=with_errors),
        database.pk,
    )


def reach_of(trace: Trace, channel: Channel) -> Iterator[TraceChannel]:
    """Whether each database of a channel has the customer, and what is missing if it does not."""
    known = {row.database: row for row in trace.channels}
    databases = list(ChannelDatabase.objects.with_channel().filter(channel=channel))
    customers = Customer.objects.filter(company=trace.company, account_number=trace.account_number)
    customer = customers.first() if trace.account_number else None
    distribution = load_distribution(customer, databases)
    for database in databases:
        row = known.get(database.label) or trace_channel(database, distribution)
        yield row if customer else replace(row, missing=missing_account(trace, database))


def missing_account(trace: Trace, database: ChannelDatabase) -> MissingStep:
    """What a customer without an account waits for."""
    company, waiting_for = database.channel.company_id, trace.waiting_for
    if trace.company != company:
        return MissingStep(
            MissingCode.OTHER_COMPANY,
            f"{database.label} belongs to {company}, and the customer to {trace.company}.",
            OWN_COMPANY,
        )
    code = CODES_OF_STATES.get(trace.state, MissingCode.WAITING)
    text, next_step = (waiting_for.text, waiting_for.next_step) if waiting_for else ("", "")
    return MissingStep(
        code,
        text,
        next_step,
        Action.CONVERT if code == MissingCode.NOT_CONVERTED else Action.NONE,
        command=COMMANDS.get(code, ""),
    )


def events_of(history: CustomerHistory) -> Iterator[TraceEvent]:
    yield from session_events(history.operations)
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
        for delivery in history.deliveries.get(database.pk, ()):
            yield delivery_event(database, delivery)


def session_events(operations: Iterable[CustomerOperation]) -> Iterator[TraceEvent]:
    """One event for each upload, with the number of rows of each kind."""
    by_session: dict[Any, list[CustomerOperation]] = defaultdict(list)
    for operation in operations:
        if operation.row.session:
            by_session[operation.row.session].append(operation)
    for session, uploaded in by_session.items():
        counts = Counter(operation.kind.noun for operation in uploaded)
        text = ", ".join(counted(count, noun) for noun, count in counts.items())
        yield TraceEvent(
            min(operation.row.staged_at for operation in uploaded),
            "uploaded",
            uploaded[0].row.source,
            f"Uploaded: {text}.",
            text_or_none(session.run_id),
            str(session.pk),
        )


def capture_event(operation: CustomerOperation) -> TraceEvent:
    """The operation at the till, at the time of the till's clock."""
    offline = ", offline" if operation.row.created_offline else ""
    by = f", by {operation.row.made_by}" if operation.row.made_by else ""
    at_once = " in real time" if operation.row.origin == Origin.RTS else ""
    text = f"{operation.summary}{at_once}{offline}{by}."
    return TraceEvent(operation.row.occurred_at, "captured", operation.row.source, text)


def outcome_events(operation: CustomerOperation, guids: Sequence[GuidMap]) -> Iterator[TraceEvent]:
    """The outcome of an operation at HQ, unless it is the account, which has its own event."""
    row = operation.row
    same_run = [guid for guid in guids if row.applied_at and guid.run_id == row.applied_run_id]
    issued = [guid.created_at for guid in same_run]
    created_account = operation.kind is CUSTOMER and operation.before is None and bool(issued)
    if row.status == StagingStatus.APPLIED and created_account:
        return
    if row.status == StagingStatus.PENDING and not row.reason:
        return
    # An account and the events that were applied with it have the same time: the account first.
    at = max([row.applied_at or row.staged_at, *issued])
    kind, text = outcome_of(operation)
    run, case = text_or_none(row.applied_run_id), case_id(row)
    yield TraceEvent(at, kind, row.source, text, run, case=case)


def outcome_of(operation: CustomerOperation) -> tuple[str, str]:
    """The kind and the text of the event that tells what HQ did with an operation."""
    row = operation.row
    if row.status == StagingStatus.APPLIED:
        verb = operation.verb
        kinds = {"created": "edited", "deactivated": "removed"}
        return kinds.get(verb, verb), f"{operation.description}."
    if row.status == StagingStatus.SUPERSEDED:
        text = f"{operation.description}; it arrived too late, and a newer one was kept."
        return row.status, text
    if row.status == StagingStatus.ERASED:
        return row.status, f"{operation.subject}: its data was erased."
    text = f"{operation.subject}: {explain(row.reason or '', row.field)}"
    return "waiting" if row.status == StagingStatus.PENDING else row.status, text


def conflict_events(conflict: EditConflict) -> Iterator[TraceEvent]:
    """A conflict of two edits with both values, and the decision of a person."""
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


def quarantine_event(row: Quarantine, operation: CustomerOperation | None) -> TraceEvent:
    """A row that was quarantined. `operation` is HQ's event of the same id, if there is one."""
    text = f"{row.table.removeprefix('async_').capitalize()} quarantined: "
    text += explain(row.reason, row.field)
    differing = differing_columns(row, operation) if operation else []
    if differing:
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


def differing_columns(row: Quarantine, operation: CustomerOperation) -> list[str]:
    """The columns in which a quarantined row differs from the event of the same id."""
    raw = json.loads(bytes(row.raw))
    return [
        column
        for column in operation.kind.columns
        if column in raw
        and comparable_text(raw[column]) != comparable_text(getattr(operation.row, column))
    ]


def comparable_text(value: Any) -> str:
    """A value in one spelling, so that equal values of PostgreSQL and SQLite are equal texts."""
    if isinstance(value, bool) or value in (0, 1):
        return "true" if value else "false"
    return "" if value is None else str(value)


def delivery_event(database: ChannelDatabase, delivery: CustomerDelivery) -> TraceEvent:
    session = delivery.session
    return TraceEvent(
        delivery.delivered_at,
        "delivered",
        database.label,
        f"Delivered in version {delivery.version}{known_since(delivery)}.",
        text_or_none(session and session.run_id),
        text_or_none(session and session.pk),
    )


def known_since(delivery: CustomerDelivery) -> str:
    """From when on it may have been, of a delivery whose session is part of a range by now."""
    if delivery.earliest_at == delivery.delivered_at:
        return ""
    return f" between {delivery.earliest_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC and this time"
