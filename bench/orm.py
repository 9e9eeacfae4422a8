"""The ring against the same one written as Django's documentation suggests: bulk calls of the ORM.

It does less: no rules, no quarantine, no runs, no order of events. It is what a project would have
without set-based SQL, and therefore kept simple.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from django.db import models, transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from bench.place import Options, Place, customers_of, table
from bench.ring import alone
from stores.channeldb import models as channel
from stores.channeldb.connect.connection import connect
from stores.models import (
    ChannelDatabase,
    Company,
    Customer,
    CustomerAddress,
    CustomerAffiliation,
    CustomerAttribute,
    CustomerContact,
    GuidMap,
    NumberSequence,
    StagedAddress,
    StagedAffiliation,
    StagedAttribute,
    StagedContact,
    StagedCustomer,
    UploadBatch,
)
from stores.pipeline.events.kinds import CHILDREN, CUSTOMER, EVENT_KINDS, EventKind

BATCH = 1_000
T = TypeVar("T")
STAGED: dict[EventKind, Any] = dict(
    zip(
        EVENT_KINDS,
        (StagedCustomer, StagedAddress, StagedContact, StagedAffiliation, StagedAttribute),
        strict=True,
    )
)
OWNED: dict[EventKind, Any] = dict(
    zip(
        CHILDREN,
        (CustomerAddress, CustomerContact, CustomerAffiliation, CustomerAttribute),
        strict=True,
    )
)
SENT: dict[EventKind, Any] = dict(
    zip(
        CHILDREN,
        (
            channel.CustomerAddress,
            channel.CustomerContact,
            channel.CustomerAffiliation,
            channel.CustomerAttribute,
        ),
        strict=True,
    )
)
EVENTS: dict[EventKind, Any] = dict(
    zip(
        EVENT_KINDS,
        (
            channel.CustomerEvent,
            channel.AddressEvent,
            channel.ContactEvent,
            channel.AffiliationEvent,
            channel.AttributeEvent,
        ),
        strict=True,
    )
)
ACCOUNT = ("company", "account_number")


def measure(place: Place, options: Options) -> None:
    customers = customers_of(options, 8_000)
    ours = alone(place, options, customers)["whole"]
    place.renew()
    shops = place.shops(customers, made=options.made)
    begun = time.perf_counter()
    for shop in shops:
        upload(shop)
    while convert(shops):
        pass
    for shop in shops:
        download(shop)
    theirs = time.perf_counter() - begun
    if ChannelDatabase.objects.filter(position=customers).count() < len(shops):
        raise SystemExit("The ring of the ORM did not come to its end.")
    table(
        ["customers", "bulk ORM", "Syncline", "times faster", "goal"],
        [[f"{customers:,}", f"{theirs:.1f} s", f"{ours:.1f} s", f"{theirs / ours:.1f}", 7]],
    )


def batches(rows: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, BATCH)):
        yield batch


def values(source: models.Model, columns: Sequence[str]) -> dict[str, Any]:
    return {column: getattr(source, column) for column in columns}


def upload(shop: ChannelDatabase) -> None:
    """Events -> staging, then acknowledged."""
    company = shop.channel.company
    upload_batch = UploadBatch.objects.create(company=company, database=shop)
    with connect(shop) as alias:
        for kind, staged in STAGED.items():
            events = EVENTS[kind].objects.using(alias)
            waiting = events.filter(acknowledged_at=None).order_by("replication_counter")
            for batch in batches(list(waiting.iterator(chunk_size=BATCH))):
                rows = [
                    staged(
                        database=shop,
                        company=company,
                        batch=upload_batch,
                        **values(event, kind.sent_columns),
                    )
                    for event in batch
                ]
                staged.objects.bulk_create(rows, BATCH, ignore_conflicts=True)
                acknowledged = events.filter(pk__in=[event.pk for event in batch])
                acknowledged.update(acknowledged_at=timezone.now())


@transaction.atomic
def convert(shops: Sequence[ChannelDatabase]) -> int:
    """A batch of staged customers -> customers with numbers, children, map."""
    company = shops[0].channel.company
    has_account = GuidMap.objects.filter(async_account=OuterRef("async_account"))
    pending = StagedCustomer.objects.filter(~Exists(has_account))
    staged: list[Any] = list(pending.order_by("async_account")[:BATCH])
    sequence = NumberSequence.objects.select_for_update().get(company=company)
    first, sequence.next = sequence.next, sequence.next + len(staged)
    sequence.save(update_fields=["next"])
    latest = Company.objects.select_for_update().get(pk=company.pk).change_no
    Company.objects.filter(pk=company.pk).update(change_no=latest + len(staged))
    customers = [
        Customer(
            company=company,
            number=number,
            account_number=f"C-{number:09}",
            change_no=latest + place,
            **values(event, CUSTOMER.columns),
        )
        for place, (number, event) in enumerate(enumerate(staged, first), 1)
    ]
    Customer.objects.bulk_create(customers, BATCH)
    owner = {
        event.async_account: customer for event, customer in zip(staged, customers, strict=True)
    }
    channel_of = {shop.pk: shop.channel for shop in shops}
    GuidMap.objects.bulk_create(
        [
            GuidMap(
                async_account=event.async_account,
                company=company,
                customer=owner[event.async_account],
                channel=channel_of[event.database_id],
            )
            for event in staged
        ],
        BATCH,
    )
    for kind, owned in OWNED.items():
        events = STAGED[kind].objects.filter(async_account__in=owner)
        rows = [owned(customer=owner[e.async_account], **values(e, kind.columns)) for e in events]
        owned.objects.bulk_create(rows, BATCH, ignore_conflicts=True)
    return len(staged)


def download(shop: ChannelDatabase) -> None:
    """Customers beyond the shop's position -> the channel's tables, then noted."""
    with connect(shop) as alias:
        lacking = Customer.objects.filter(change_no__gt=shop.position).order_by("change_no")
        for batch in batches(list(lacking.values_list("pk", flat=True))):
            customers = {one.pk: one for one in Customer.objects.filter(pk__in=batch)}
            guids = dict(
                GuidMap.objects.filter(customer__in=batch).values_list("customer", "async_account")
            )
            account = {
                pk: {"company": one.company_id, "account_number": one.account_number}
                for pk, one in customers.items()
            }
            known = [
                channel.Customer(
                    async_account=guids.get(pk),
                    hq_version=one.hq_version,
                    **account[pk],
                    **values(one, CUSTOMER.columns),
                )
                for pk, one in customers.items()
            ]
            write(alias, channel.Customer, known, ("company", "account_number"))
            for kind, owned in OWNED.items():
                rows = [
                    SENT[kind](
                        hq_version=one.hq_version,
                        **account[one.customer_id],
                        **values(one, kind.columns),
                    )
                    for one in owned.objects.filter(customer__in=batch)
                ]
                key = kind.key if kind.key == kind.conflict else (*ACCOUNT, *kind.key)
                write(alias, SENT[kind], rows, key)
            maps = [
                channel.AccountMap(async_account=guid, received_at=timezone.now(), **account[pk])
                for pk, guid in guids.items()
            ]
            channel.AccountMap.objects.using(alias).bulk_create(maps, BATCH, ignore_conflicts=True)
            reached = max(one.change_no or 0 for one in customers.values())
            ChannelDatabase.objects.filter(pk=shop.pk).update(position=reached)


def write(alias: str, model: Any, rows: Sequence[Any], key: Sequence[str]) -> None:
    columns = [f.name for f in model._meta.concrete_fields if f.name not in (*key, "pk")]
    model.objects.using(alias).bulk_create(
        rows, BATCH, update_conflicts=True, unique_fields=list(key), update_fields=columns
    )
