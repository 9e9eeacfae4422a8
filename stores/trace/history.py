"""Load everything that HQ has about one customer, in a few queries."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Case, DateTimeField, F, Func, Q, QuerySet, TextField, When
from django.db.models.functions import Least

from stores.models import (
    ChannelDatabase,
    Customer,
    CustomerDelivery,
    EditConflict,
    GuidMap,
    Quarantine,
)
from stores.models.staging import OPEN_STATUSES, Operation, StagingStatus
from stores.pipeline.events.kinds import EVENT_KINDS, EventKind
from stores.pipeline.events.rules import STAGING_MODELS
from stores.trace.distribution import Distribution, load_distribution
from stores.trace.operations import CustomerOperation, in_event_order
from stores.trace.types import Match

# From which register an event was merged, and up to when its maker had seen what HQ had applied:
# see migrations/sql/seen_until.sql.
MERGED_FROM = Case(
    When(
        created_offline=True,
        then=Func(F("database_id"), F("terminal_id"), function="merged_from"),
    ),
    output_field=TextField(null=True),
)
SEEN_UNTIL = Func(
    F("customer_id"),
    F("database_id"),
    F("merged_from"),
    F("based_on"),
    Least("occurred_at", "staged_at"),
    F("staged_at"),
    function="seen_until",
    output_field=DateTimeField(null=True),
)


@dataclass(frozen=True)
class CustomerHistory:
    match: Match
    customer: Customer | None
    guids: list[GuidMap]
    operations: list[CustomerOperation]
    quarantined: list[Quarantine]
    databases: list[ChannelDatabase]
    # What arrived at each database, oldest first.
    deliveries: dict[int, list[CustomerDelivery]]
    distribution: Distribution
    conflicts: list[EditConflict]

    @property
    def recipients(self) -> list[ChannelDatabase]:
        """The databases that are visited and sent customers."""
        left_out = self.distribution.left_out
        return [
            database
            for database in self.databases
            if database.is_visited and database.pk not in left_out
        ]

    @property
    def pending(self) -> list[ChannelDatabase]:
        """The recipients that lack the customer's present version."""
        lacking = self.distribution.lacking
        return [database for database in self.recipients if database.pk in lacking]

    @property
    def is_distributed(self) -> bool:
        """Whether every recipient has the customer's present version."""
        is_sent = self.customer is not None and self.customer.change_no is not None
        return is_sent and bool(self.recipients) and not self.pending


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
    return CustomerHistory(
        match,
        customer,
        guids,
        operations,
        list(quarantined_rows(match, ids, [operation.row.pk for operation in operations])),
        databases,
        CustomerDelivery.objects.of(customer) if customer else {},
        load_distribution(customer, databases),
        list(EditConflict.objects.for_customer(customer)) if customer else [],
    )


def operations_of_kind(
    kind: EventKind, match: Match, customer: Customer | None, guids: Sequence[UUID]
) -> Iterator[CustomerOperation]:
    """The staged events of one kind. Those of each address or detail are in event order."""
    names_customer = Q(async_account__in=guids)
    is_shown = Q(status__in=OPEN_STATUSES, company=match.company)
    if customer:
        names_customer |= Q(account_number=match.account_number, company=match.company)
        is_shown |= Q(customer=customer)
    rows = STAGING_MODELS[kind.noun].objects.filter(names_customer, is_shown)
    rows = rows.select_related("database__channel", "session", "made_by")
    rows = rows.annotate(merged_from=MERGED_FROM).annotate(seen_until=SEEN_UNTIL)
    entities: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
    for row in rows:
        entities[tuple(getattr(row, column) for column in kind.key)].append(row)
    for events in entities.values():
        stated: list[Any] = []
        for row in in_event_order(events):
            yield CustomerOperation(kind, row, last_seen(row, stated))
            if row.status != StagingStatus.FAILED and row.operation != Operation.DEACTIVATE:
                stated.append(row)


def place_of(row: Any) -> tuple[Any, ...]:
    """Where an event was written: what its maker sees there."""
    return row.database_id, row.generation, row.merged_from


def last_seen(row: Any, earlier: Sequence[Any]) -> Any:
    """Return the latest of some earlier events that the maker of `row` had seen, or the first."""
    for event in reversed(earlier):
        if place_of(event) == place_of(row):
            return event
        if row.seen_until and event.applied_at and event.applied_at <= row.seen_until:
            return event
    return next(iter(earlier), None)


def quarantined_rows(
    match: Match, guids: Sequence[UUID], events: Sequence[UUID]
) -> QuerySet[Quarantine]:
    """The quarantined rows of the customer: by GUID, by event id, or by account without a GUID."""
    condition = Q(async_account__in=guids) | Q(event_id__in=events)
    if match.account_number:
        condition |= Q(
            async_account=None,
            account_number=match.account_number,
            database__channel__company=match.company,
        )
    rows = Quarantine.objects.filter(condition).select_related("database__channel", "session")
    return rows.order_by("pk")
