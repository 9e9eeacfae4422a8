"""Twice, in another order, by another clock: nothing else comes of it (I32, I33, I34)."""

import random
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.core.management import call_command
from django.utils import timezone

from stores.jobs.catalog import JOBS
from stores.models import Channel, ChannelDatabase, Customer
from stores.pipeline.events.kinds import CHILDREN, KINDS
from stores.pipeline.integrity.verify import verify
from tests.support import contents
from tests.support.contents import Contents
from tests.support.hq import empty_hq
from tests.support.make import make_customer, make_event, make_sale, query, run

pytestmark = pytest.mark.slow

COMMANDS = [
    ("channels",),
    ("incidents", "list"),
    ("migrate_channels",),
    ("quarantine", "causes"),
    ("reconcile",),
    ("reconcile", "--fix"),
    ("recover_hq",),
    ("verify",),
]
# Runs, and what they leave where they were: how a visit went, when and by which run promises were
# checked, over how many rows (runs among them). Sales not posted are validated anew each time.
OF_RUNS = {
    "job_run",
    "run_step",
    "channel_database.last_visited_at",
    "channel_database.last_duration_s",
    "promise.checked",
    "promise.checked_at",
    "promise.run_id",
    "retail_transaction.validated_at",
}


@pytest.fixture
def quiet(houston, popup) -> list[ChannelDatabase]:
    """Two channels at rest, with something of each kind: also what waits, failed or is aside."""
    for shop in (houston, popup):
        ann = make_customer(shop)
        for kind in CHILDREN:
            make_event(kind.name, shop, async_account=ann)
        make_customer(shop, email="nobody")
        make_event("address", shop, async_account=uuid4())
        make_sale(shop, "10.00", async_account=ann)
        make_sale(shop, "8.00", net_amount="9.00")
        order = {"transaction_type": "customer_order", "confirmation_number": f"SO-{shop.pk}"}
        make_sale(shop, async_account=ann, **order)
    for job in ("eod", "sync-orders", "pipeline", "verify"):
        assert run(job)["outcome"] == "succeeded"
    return [houston, popup]


def all_there_is(shops: list[ChannelDatabase]) -> Contents:
    """HQ but for its runs, and the channels whole."""
    found = contents.of_hq(without=OF_RUNS)
    for shop in shops:
        found |= {f"{shop} {table}": rows for table, rows in contents.of_channel(shop).items()}
    return found


def test_i32_every_job_and_command_twice_changes_nothing_in_a_quiet_ring(quiet):
    before = all_there_is(quiet)

    for _ in range(2):
        for job in JOBS:
            assert run(job)["outcome"] in ("nothing_to_do", "succeeded")
        for words in COMMANDS:
            call_command(*words)

    assert contents.differences(before, all_there_is(quiet)) == {}


# ------------------------------------------------------------------ another order

MORNING = timezone.now().replace(microsecond=0) - timedelta(hours=9)
ANN, BO, CY, DI, ED = (UUID(int=number << 64 | 0x8 << 60) for number in range(1, 6))
HERS, OTHER, SHARED = (UUID(int=number << 64 | 0x9 << 60) for number in range(1, 4))
HOME = {"purpose": "home", "is_primary": True}
# What tills write once Ann, Bo and Cy are known everywhere: shop, minute, kind and columns.
DAY = [
    ("houston", 1, "customer", {"operation": "update", "async_account": ANN, "first_name": "Anna"}),
    ("popup", 2, "customer", {"operation": "update", "async_account": ANN, "first_name": "Anne"}),
    ("popup", 3, "customer", {"operation": "update", "async_account": CY, "first_name": "Cyd"}),
    ("houston", 4, "customer", {"operation": "update", "async_account": CY, "first_name": "Cyril"}),
    ("houston", 5, "customer", {"async_account": DI, "first_name": "Di"}),
    ("houston", 6, "address", {"async_account": DI, "address_id": HERS, **HOME, "city": "Old"}),
    ("houston", 7, "address", {"async_account": DI, "address_id": OTHER, **HOME, "city": "New"}),
    ("houston", 8, "contact", {"async_account": DI, "contact_id": HERS}),
    ("houston", 9, "customer", {"operation": "update", "async_account": DI, "first_name": "Dina"}),
    ("popup", 10, "customer", {"async_account": ED, "first_name": "Ed"}),
    ("popup", 11, "attribute", {"async_account": ED, "value": "M"}),
    ("popup", 12, "attribute", {"async_account": ED, "value": "L"}),
    ("popup", 13, "affiliation", {"async_account": ED}),
    ("popup", 14, "customer", {"operation": "update", "async_account": BO, "first_name": "Bob"}),
    ("houston", 15, "customer", {"operation": "deactivate", "async_account": BO}),
    ("popup", 16, "address", {"async_account": ANN, "address_id": SHARED, **HOME, "city": "Old"}),
    ("houston", 17, "address", {"async_account": ANN, "address_id": SHARED, **HOME, "city": "New"}),
    ("popup", 18, "affiliation", {"operation": "deactivate", "async_account": ED}),
    ("houston", 19, "customer", {"async_account": DI, "first_name": "Diana", "email": "nobody"}),
]
# What depends on when a run came by: counters and times of HQ, and how many edits one run folded.
OF_ARRIVAL = {
    *(f"{kind.table}.hq_version" for kind in KINDS),
    *(f"{kind.event}.{column}" for kind in KINDS for column in ("staged_at", "applied_at")),
    *(f"{kind.event}.{column}" for kind in KINDS for column in ("session_id", "applied_run_id")),
    *(f"{kind.event}.{column}" for kind in KINDS for column in ("status", "acknowledged_at")),
    *(f"customer.{column}" for column in ("id", "number", "created_at", "modified_at")),
    *(f"guid_map.{column}" for column in ("run_id", "created_at")),
    "account_map.received_at",
    *(f"quarantine.{column}" for column in ("id", "session_id", "first_seen_at", "last_seen_at")),
}
COMPARED = {"guid_map", "number_sequence", "quarantine", "account_map"}
COMPARED |= {table for kind in KINDS for table in (kind.table, kind.event)}


def live_through(register, batches: list[list[UUID]]) -> Contents:
    """A ring to which the events of the day came in these batches; all it holds in the end."""
    empty_hq()
    numbers = {"account_format": "00####", "first_number": 5001}
    shops = {code: register(code, **numbers) for code in ("houston", "popup")}
    # Default customers are made with their channels.
    Customer.objects.update(event_at=MORNING)
    for guid, code in ((ANN, "houston"), (BO, "houston"), (CY, "popup")):
        make_customer(shops[code], "Early", guid=guid, event_id=guid, occurred_at=MORNING)
    run("pipeline")
    for place, (code, minute, kind, columns) in enumerate(DAY):
        at = {"event_id": event(place), "occurred_at": MORNING + timedelta(minutes=minute)}
        make_event(kind, shops[code], **at | columns)
    # Not committed yet, for whoever reads; they appear batch by batch, whatever their counters.
    hide(shops)
    for batch in batches:
        show(shops, batch)
        run("pipeline")
    assert [check.id for check in verify() if not check.ok] == []
    return held(shops)


def event(place: int) -> UUID:
    return UUID(int=place << 64 | 0xA << 60)


def hide(shops: dict[str, ChannelDatabase]) -> None:
    """Let no upload see what waits."""
    for shop in shops.values():
        for kind in KINDS:
            statement = f"UPDATE {kind.event} SET acknowledged_at = '2026-01-01T00:00:00+00:00'"  # noqa: S608
            query(shop, f"{statement} WHERE acknowledged_at IS NULL")


def show(shops: dict[str, ChannelDatabase], batch: list[UUID]) -> None:
    """Let the next upload see these events."""
    for shop in shops.values():
        for kind in KINDS:
            statement = f"UPDATE {kind.event} SET acknowledged_at = NULL WHERE event_id = %s"  # noqa: S608
            for event_id in batch:
                query(shop, statement, str(event_id))


def held(shops: dict[str, ChannelDatabase]) -> Contents:
    """What HQ and channels hold, with the GUID that created it for each account."""
    names = {f"channel_id={channel.pk}": channel.code for channel in Channel.objects.all()}
    for code, shop in shops.items():
        names |= {f"{column}={shop.pk}": code for column in ("database_id", "event_database")}
    for one in Customer.objects.filter(number__isnull=False):
        guid = str(one.guids.get().pk)
        names |= {f"customer_id={one.pk}": guid, f"account_number={one.account_number}": guid}
    found = contents.of_hq(without=OF_ARRIVAL)
    for shop in shops.values():
        inside = contents.of_channel(shop, without=OF_ARRIVAL)
        found |= {f"{shop} {table}": rows for table, rows in inside.items()}
    return contents.renamed(
        {table: rows for table, rows in found.items() if table.rpartition(" ")[2] in COMPARED},
        names,
    )


def test_i33_the_order_in_which_events_arrive_decides_nothing(register):
    events = [event(place) for place in range(len(DAY))]
    at_once = live_through(register, [events])
    orders = [[[one] for one in reversed(events)]]
    for seed in range(2):
        shuffled = random.Random(seed).sample(events, len(events))  # noqa: S311 - no secret
        orders.append([shuffled[first : first + 4] for first in range(0, len(events), 4)])

    for order in orders:
        assert contents.differences(at_once, live_through(register, order)) == {}
