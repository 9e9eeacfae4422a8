"""All that HQ holds of one customer, read in a handful of queries."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from stores.models import ChannelDatabase, Customer, Delivery, EditConflict, GuidMap, Quarantine
from stores.models.characters import normalize_text
from stores.models.staging import OPEN_STATUSES, Operation, Origin, StagingStatus
from stores.pipeline.events.kinds import EVENT_KINDS, INHERITED_COLUMNS, EventKind
from stores.pipeline.events.rules import STAGING_MODELS
from stores.trace.types import Match

# The column that says which of a customer's several rows it is, without naming anybody.
DISTINGUISHING_COLUMNS = {
    "address": "purpose",
    "contact": "kind",
    "affiliation": "affiliation",
    "attribute": "attribute",
}
# What HQ fills in where a till leaves it out.
DEFAULTED_FIELDS = {"address": ("purpose", "country"), "contact": ("marketing_opt_in",)}


@dataclass(frozen=True)
class CustomerOperation:
    """One operation of a till on one entity, and the one before it if HQ has it."""

    kind: EventKind
    row: Any
    before: Any = None

    @property
    def subject(self) -> str:
        which = getattr(self.row, DISTINGUISHING_COLUMNS.get(self.kind.name, ""), None)
        return self.kind.name.capitalize() + (f" {which}" if which else "")

    @property
    def done(self) -> str:
        """What was done: created, edited, added, removed, deactivated."""
        if self.row.operation == Operation.UPDATE:
            return "edited"
        words = ("created", "deactivated") if self.kind.name == "customer" else ("added", "removed")
        return words[self.row.operation == Operation.DEACTIVATE]

    @property
    def changes(self) -> dict[str, str]:
        """Each column that an edit changed, as old -> new; an old value nobody knows is a ?."""
        if self.row.operation == Operation.DEACTIVATE:
            return {}
        changes = {}
        for column in self.kind.columns:
            old, new = getattr(self.before, column, None), getattr(self.row, column)
            # HQ keeps these when an edit leaves them out.
            is_kept = self.kind.name == "customer" and column in INHERITED_COLUMNS and not new
            # A form of HQ also sends back what HQ had filled in for a till.
            is_kept |= (
                self.is_of_hq and column in DEFAULTED_FIELDS.get(self.kind.name, ()) and not old
            )
            if (
                column not in self.kind.key
                and normalized_value(old) != normalized_value(new)
                and not is_kept
            ):
                changes[column] = f"{value_text(old) if self.before else '?'} -> {value_text(new)}"
        return changes

    @property
    def is_of_hq(self) -> bool:
        return bool(self.row.origin == Origin.HQ)

    @property
    def is_edit(self) -> bool:
        """Whether it changes something that was there, so that old and new can be shown."""
        return self.before is not None or self.row.operation == Operation.UPDATE

    @property
    def in_short(self) -> str:
        names = ", ".join(self.changes) if self.before else ""
        return f"{self.subject} {self.done}" + (f": {names}" if names else "")

    @property
    def in_full(self) -> str:
        values = ", ".join(f"{name} {change}" for name, change in self.changes.items())
        return f"{self.subject} {self.done}" + (f": {values}" if values and self.is_edit else "")


@dataclass(frozen=True)
class CustomerHistory:
    match: Match
    customer: Customer | None
    guids: list[GuidMap]
    operations: list[CustomerOperation]
    quarantined: list[Quarantine]
    databases: list[ChannelDatabase]
    deliveries: dict[int, Delivery]
    conflicts: list[EditConflict]

    @property
    def pending(self) -> list[ChannelDatabase]:
        return [
            database
            for database in self.databases
            if (delivery := self.deliveries.get(database.pk))
            and delivery.delivered_version < delivery.version
            and database.is_enabled
            and database.channel.is_enabled
        ]


def load_history(match: Match) -> CustomerHistory:
    customer = (
        Customer.objects.filter(company=match.company, account_number=match.account_number).first()
        if match.account_number
        else None
    )
    maps = GuidMap.objects.filter(customer=customer) if customer else GuidMap.objects.none()
    guids = list(maps.select_related("channel").order_by("origin", "created_at"))
    ids = [guid.pk for guid in guids] or [UUID(guid) for guid in [match.async_account] if guid]
    operations = [
        operation
        for kind in EVENT_KINDS
        for operation in operations_of_kind(kind, match, customer, ids)
    ]
    databases = list(ChannelDatabase.objects.with_channel().filter(channel__company=match.company))
    rows_of_customer = Delivery.objects.filter(database__in=databases, customer=customer)
    return CustomerHistory(
        match,
        customer,
        guids,
        operations,
        list(quarantined_rows(match, ids, [operation.row.pk for operation in operations])),
        databases,
        {guid.database_id: guid for guid in rows_of_customer.select_related("session")}
        if customer
        else {},
        list(EditConflict.objects.for_customer(customer)) if customer else [],
    )


def operations_of_kind(
    kind: EventKind, match: Match, customer: Customer | None, guids: Sequence[UUID]
) -> Iterator[CustomerOperation]:
    """The staged events of one kind, each entity's in the order in which conversion takes them."""
    waits = Q(status__in=OPEN_STATUSES, company=match.company)
    condition = waits & Q(async_account__in=guids)
    if customer:
        condition |= Q(customer=customer) | waits & Q(account_number=match.account_number)
    rows = STAGING_MODELS[kind.name].objects.filter(condition)
    rows = rows.select_related("database__channel", "session", "made_by")
    entities: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
    for row in rows:
        entities[tuple(getattr(row, column) for column in kind.key)].append(row)
    for events in entities.values():
        before = None
        for row in in_event_order(events):
            yield CustomerOperation(kind, row, before)
            if row.status != StagingStatus.FAILED and row.operation != Operation.DEACTIVATE:
                before = row


def in_event_order(events: Iterable[Any]) -> list[Any]:
    """Events of one entity in the order of reliability 3.4, which `merge` keeps in SQL."""
    latest: dict[int, datetime] = {}
    placed = []
    for row in sorted(events, key=lambda row: (row.generation, row.replication_counter)):
        at = min(row.occurred_at, row.staged_at)
        database = row.database_id or 0
        latest[database] = at = max(at, latest.get(database, at))
        channel, name = database_place(row)
        placed.append(((at, channel, name, row.generation, row.replication_counter), row))
    return [row for _, row in sorted(placed, key=itemgetter(0))]


def database_place(row: Any) -> tuple[str, str]:
    """Channel code and register, which decide at one moment; headquarters comes first of all."""
    return (row.database.channel.code, row.database.name) if row.database else ("", "")


def quarantined_rows(
    match: Match, guids: Sequence[UUID], events: Sequence[UUID]
) -> QuerySet[Quarantine]:
    """Quarantined rows of the customer: by GUID, by event id, or by account where no GUID is."""
    condition = Q(async_account__in=guids) | Q(event_id__in=events)
    if match.account_number:
        condition |= Q(
            async_account=None,
            account_number=match.account_number,
            database__channel__company=match.company,
        )
    rows = Quarantine.objects.filter(condition).select_related("database__channel", "session")
    return rows.order_by("pk")


def normalized_value(value: Any) -> str:
    """A value as HQ keeps it, so that only what differs there counts as changed."""
    return normalize_text(str(value or ""))


def value_text(value: Any) -> str:
    return "(empty)" if value in (None, "") else str(value)
