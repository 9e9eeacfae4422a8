"""Load everything that HQ has about one customer, in a few queries."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from stores.models import (
    ChannelDatabase,
    Customer,
    CustomerDelivery,
    DownloadException,
    DownloadSession,
    EditConflict,
    ExcludedDatabase,
    GuidMap,
    Quarantine,
)
from stores.models.job import JobCode
from stores.models.staging import OPEN_STATUSES, Operation, StagingStatus
from stores.pipeline.download.sessions import suspended_in_strict_order
from stores.pipeline.events.kinds import EVENT_KINDS, EventKind
from stores.pipeline.events.rules import STAGING_MODELS
from stores.trace.operations import CustomerOperation, in_event_order
from stores.trace.types import Match


@dataclass(frozen=True)
class CustomerHistory:
    match: Match
    customer: Customer | None
    guids: list[GuidMap]
    operations: list[CustomerOperation]
    quarantined: list[Quarantine]
    databases: list[ChannelDatabase]
    # What arrived at each database, oldest first, and what of it is still there.
    deliveries: dict[int, list[CustomerDelivery]]
    held: dict[int, list[CustomerDelivery]]
    lacking: set[int]
    # The databases to which 1010 sends nothing.
    excluded: set[int]
    # Why: open exceptions, and sessions suspended in strict order; by database.
    exceptions: dict[int, DownloadException]
    suspended: dict[int, DownloadSession]
    conflicts: list[EditConflict]

    @property
    def recipients(self) -> list[ChannelDatabase]:
        """The enabled databases to which customers are sent."""
        return [
            database
            for database in self.databases
            if database.is_enabled
            and database.channel.is_enabled
            and database.pk not in self.excluded
        ]

    @property
    def pending(self) -> list[ChannelDatabase]:
        """The recipients that lack the customer's present version."""
        return [database for database in self.recipients if database.pk in self.lacking]

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
        CustomerDelivery.objects.held_of(customer) if customer else {},
        set(customer.databases_lacking().values_list("pk", flat=True)) if customer else set(),
        set(
            ExcludedDatabase.objects.filter(job=JobCode.DOWNLOAD).values_list(
                "database__pk", flat=True
            )
        ),
        {
            exception.database_id: exception
            for exception in DownloadException.objects.open().filter(customer=customer)
        },
        {
            session.database_id: session
            for session in suspended_in_strict_order().filter(database__in=databases)
        },
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
    entities: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
    for row in rows:
        entities[tuple(getattr(row, column) for column in kind.key)].append(row)
    for events in entities.values():
        before = None
        for row in in_event_order(events):
            yield CustomerOperation(kind, row, before)
            if row.status != StagingStatus.FAILED and row.operation != Operation.DEACTIVATE:
                before = row


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
