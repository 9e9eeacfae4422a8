"""The order in which events arrive at HQ does not change the result.

The same events of two channels are uploaded all at once, one by one in reverse, and in shuffled
batches. Each time HQ and both channels must end with the same data.

From conftest.py: `register` registers a channel by its code.
"""

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.utils import timezone

from stores.models import Channel, ChannelDatabase, Customer
from stores.pipeline.events.kinds import EVENT_KINDS
from tests.support.contents import (
    Contents,
    channel_contents,
    differences,
    hq_contents,
    with_labels,
)
from tests.support.hq import empty_hq
from tests.support.make import make_customer, make_event, query, run
from tests.support.promises import broken_promises

pytestmark = pytest.mark.slow

MORNING = timezone.now().replace(microsecond=0) - timedelta(hours=9)


def make_uuid(number: int) -> UUID:
    return UUID(f"00000000-0000-4000-8000-{number:012}")


ANN, BO, CY, DI, ED = (make_uuid(number) for number in range(1, 6))
HOME, SECOND_HOME, MOVED_HOME = (make_uuid(number) for number in range(11, 14))


@dataclass(frozen=True)
class Event:
    """An event that a till writes, in minutes after the morning."""

    channel: str
    minute: int
    kind: str
    columns: dict[str, Any]

    @property
    def event_id(self) -> UUID:
        return make_uuid(100 + self.minute)


def customer(channel: str, minute: int, guid: UUID, **columns: Any) -> Event:
    return Event(channel, minute, "customer", {"async_account": guid} | columns)


def update(channel: str, minute: int, guid: UUID, first_name: str) -> Event:
    return customer(channel, minute, guid, operation="update", first_name=first_name)


def address(channel: str, minute: int, guid: UUID, address_id: UUID, city: str) -> Event:
    columns = {"async_account": guid, "address_id": address_id, "city": city}
    return Event(channel, minute, "address", columns | {"purpose": "home", "is_primary": True})


def child(channel: str, minute: int, kind: str, guid: UUID, **columns: Any) -> Event:
    return Event(channel, minute, kind, {"async_account": guid} | columns)


# Ann, Bo and Cy have accounts already; Di and Ed are new.
EVENTS = [
    update("houston", 1, ANN, "Anna"),
    update("popup", 2, ANN, "Anne"),
    update("popup", 3, CY, "Cyd"),
    update("houston", 4, CY, "Cyril"),
    customer("houston", 5, DI, first_name="Di"),
    address("houston", 6, DI, HOME, "Old"),
    address("houston", 7, DI, SECOND_HOME, "New"),
    child("houston", 8, "contact", DI, contact_id=HOME),
    update("houston", 9, DI, "Dina"),
    customer("popup", 10, ED, first_name="Ed"),
    child("popup", 11, "attribute", ED, value="M"),
    child("popup", 12, "attribute", ED, value="L"),
    child("popup", 13, "affiliation", ED),
    update("popup", 14, BO, "Bob"),
    customer("houston", 15, BO, operation="deactivate"),
    address("popup", 16, ANN, MOVED_HOME, "Old"),
    address("houston", 17, ANN, MOVED_HOME, "New"),
    child("popup", 18, "affiliation", ED, operation="deactivate"),
    customer("houston", 19, DI, first_name="Diana", email="nobody"),
]

COMPARED_TABLES = {
    "guid_map",
    "number_sequence",
    "open_event",
    "quarantine",
    "account_map",
    *(kind.table for kind in EVENT_KINDS),
    *(kind.event for kind in EVENT_KINDS),
}
# These depend on when a run happened. So does what was settled: events that arrive together are
# merged, and only the last of them counts as applied.
EVENT_COLUMNS_OF_RUNS = ("acknowledged_at", "batch_id", "staged_at")
COLUMNS_OF_RUNS = {
    "account_map.received_at",
    "customer.change_no",
    "customer.created_at",
    "customer.id",
    "customer.modified_at",
    "customer.number",
    "guid_map.created_at",
    "guid_map.run_id",
    "open_event.attempts",
    "open_event.batch_id",
    "open_event.last_tried_at",
    "quarantine.first_seen_at",
    "quarantine.id",
    "quarantine.last_seen_at",
    "quarantine.session_id",
    *(f"{kind.table}.hq_version" for kind in EVENT_KINDS),
    *(f"{kind.event}.{column}" for kind in EVENT_KINDS for column in EVENT_COLUMNS_OF_RUNS),
}


def data_after(register, batches: list[list[Event]]) -> Contents:
    """Process the events in these batches, in new databases. Returns the data at the end."""
    empty_hq()
    numbers = {"account_format": "00####", "first_number": 5001}
    databases = {code: register(code, **numbers) for code in ("houston", "popup")}
    # Each channel comes with a default customer, created just now.
    Customer.objects.update(event_at=MORNING)
    for guid, code in ((ANN, "houston"), (BO, "houston"), (CY, "popup")):
        make_customer(databases[code], "Early", guid=guid, event_id=guid, occurred_at=MORNING)
    run("pipeline")
    for event in EVENTS:
        write_unreleased(databases[event.channel], event)
    for batch in batches:
        for event in batch:
            release(databases[event.channel], event)
        run("pipeline")
    assert broken_promises() == []
    return read_data(databases)


def write_unreleased(database: ChannelDatabase, event: Event) -> None:
    """Write an event and mark it as acknowledged, so that uploads skip it."""
    occurred_at = MORNING + timedelta(minutes=event.minute)
    make_event(
        event.kind, database, event_id=event.event_id, occurred_at=occurred_at, **event.columns
    )
    statement = f"UPDATE async_{event.kind} SET acknowledged_at = %s WHERE event_id = %s"  # noqa: S608
    query(database, statement, "2026-01-01T00:00:00+00:00", str(event.event_id))


def release(database: ChannelDatabase, event: Event) -> None:
    """Let the next upload read an event."""
    statement = f"UPDATE async_{event.kind} SET acknowledged_at = NULL WHERE event_id = %s"  # noqa: S608
    query(database, statement, str(event.event_id))


def read_data(databases: dict[str, ChannelDatabase]) -> Contents:
    """Read HQ and the channels, with GUIDs and channel codes in place of generated ids."""
    labels = {f"channel_id={channel.pk}": channel.code for channel in Channel.objects.all()}
    for code, database in databases.items():
        labels[f"database_id={database.pk}"] = code
        labels[f"event_database={database.pk}"] = code
    for row in Customer.objects.filter(number__isnull=False):
        guid = str(row.guids.get().pk)
        labels[f"customer_id={row.pk}"] = guid
        labels[f"account_number={row.account_number}"] = guid
    data = hq_contents(only=COMPARED_TABLES, ignored=COLUMNS_OF_RUNS)
    for database in databases.values():
        data |= channel_contents(database, only=COMPARED_TABLES, ignored=COLUMNS_OF_RUNS)
    return with_labels(data, labels)


def one_by_one_in_reverse() -> list[list[Event]]:
    return [[event] for event in reversed(EVENTS)]


def shuffled_in_fours(seed: int) -> list[list[Event]]:
    shuffled = random.Random(seed).sample(EVENTS, len(EVENTS))  # noqa: S311 - no secret
    return [shuffled[first : first + 4] for first in range(0, len(shuffled), 4)]


@pytest.mark.promise(id="I33")
@pytest.mark.parametrize(
    "batches",
    [one_by_one_in_reverse(), shuffled_in_fours(seed=0), shuffled_in_fours(seed=1)],
    ids=["one by one in reverse", "shuffled, seed 0", "shuffled, seed 1"],
)
def test_the_order_of_arrival_does_not_change_the_data(register, batches):
    at_once = data_after(register, [EVENTS])
    in_batches = data_after(register, batches)

    assert at_once
    assert differences(at_once, in_batches) == {}
