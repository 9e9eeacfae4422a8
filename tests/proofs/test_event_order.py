"""HQ's data about a customer does not depend on the order in which its events arrive.

Each test takes a few events of one customer and stages them in every possible order, each order
for a customer of its own. All these customers must end with the same data.

From conftest.py: `houston` is a store on PostgreSQL; `seattle` is another store on PostgreSQL;
`popup` is one on SQLite.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import permutations
from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest
from django.db.models import Model
from django.utils import timezone

from stores.models import ChannelDatabase, Company, GuidMap, UploadBatch
from stores.models.job import JobCode
from stores.pipeline.events.rules import STAGED_MODELS
from tests.support.damage import damage
from tests.support.make import DEFAULTS, query, run

pytestmark = [pytest.mark.slow, pytest.mark.promise(id="I33")]

NOON = timezone.now().replace(microsecond=0) - timedelta(days=2)
# These columns differ between customers, or say which event was the latest.
IGNORED_COLUMNS = {
    "id",
    "company_id",
    "account_number",
    "number",
    "hq_version",
    "change_no",
    "created_at",
    "modified_at",
    "customer_id",
    "address_id",
    "contact_id",
    "event_at",
    "event_database",
    "event_generation",
    "event_counter",
}


@dataclass(frozen=True)
class Event:
    """An event of the customer, written some minutes after noon in a channel or at HQ."""

    kind: str
    minute: int
    source: str = "houston"
    columns: dict[str, Any] = field(default_factory=dict)
    # Tells a customer's addresses apart: "A", "B" or "C".
    label: str = ""


def customer(minute: int, source: str = "houston", **columns: Any) -> Event:
    return Event("customer", minute, source, columns)


def address(label: str, minute: int, source: str = "houston", **columns: Any) -> Event:
    return Event("address", minute, source, columns, label)


@pytest.fixture
def sources(houston, seattle, popup) -> dict[str, ChannelDatabase | None]:
    """Three databases of one channel, which may edit each other's customers, and HQ (None)."""
    for database in (seattle, popup):
        # A trigger keeps a database in its channel; this bypasses it.
        damage(
            f"UPDATE channel_database SET channel_id = {houston.channel_id},"  # noqa: S608
            f" name = '{database.channel.code}' WHERE id = {database.pk}"
        )
    rows = ChannelDatabase.objects.with_channel().in_bulk([houston.pk, seattle.pk, popup.pk])
    return {
        "houston": rows[houston.pk],
        "seattle": rows[seattle.pk],
        "popup": rows[popup.pk],
        "hq": None,
    }


@pytest.fixture
def results_of_all_orders(sources) -> Callable[..., list[Any]]:
    """Processes events in all orders, `at_once` of them a run. Returns the different results."""

    def process(*events: Event, at_once: int) -> list[Any]:
        orders = list(permutations(enumerate(events)))
        guids = [uuid4() for _ in orders]
        for start in range(0, len(events), at_once):
            for guid, order in zip(guids, orders, strict=True):
                stage(sources, guid, order[start : start + at_once])
            run("sync-customers")
        results: list[Any] = []
        for guid in guids:
            data = customer_data(guid)
            if data not in results:
                results.append(data)
        return results

    return process


def stage(
    sources: dict[str, ChannelDatabase | None], guid: UUID, events: Sequence[tuple[int, Event]]
) -> None:
    """Stage a customer's events as an upload would, in one batch."""
    batch = UploadBatch.objects.create(company=Company.objects.get(), rows=len(events))
    for number, event in events:
        staged_event(sources, batch, guid, number, event).save(force_insert=True)


def staged_event(
    sources: dict[str, ChannelDatabase | None],
    batch: UploadBatch,
    guid: UUID,
    number: int,
    event: Event,
) -> Model:
    """The staging row of a customer's event; the number says when it was written."""
    database = sources[event.source]
    columns = DEFAULTS[event.kind] | event.columns
    if event.kind in ("address", "contact"):
        columns[f"{event.kind}_id"] = uuid5(guid, event.label)
    values = {
        "event_id": uuid5(guid, str(number)),
        "origin": "till" if database else "hq",
        "database": database,
        "for_database": None if database else sources["houston"],
        "company": batch.company,
        "batch": batch,
        "replication_counter": guid.int % 10**12 * 100 + number,
        "occurred_at": NOON + timedelta(minutes=event.minute),
        "operation": "update" if number else "create",
        "async_account": guid,
    }
    return STAGED_MODELS[event.kind](**(values | columns))


def customer_data(guid: UUID) -> list[list[tuple[str, str]]]:
    """The rows that HQ holds of a customer: its own, then those of addresses and the like."""
    row = GuidMap.objects.get(pk=guid).customer
    rows = [row, *row.addresses.all(), *row.contacts.all()]
    rows += [*row.affiliations.all(), *row.attributes.all()]
    labels = {uuid5(guid, label): label for label in "ABCD"}
    return sorted((row_data(row, labels) for row in rows), key=str)


def row_data(row: Any, labels: dict[UUID, str]) -> list[tuple[str, str]]:
    """The columns of a row and their values; an address has its label in place of its id."""
    data = [
        (column.attname, str(getattr(row, column.attname)))
        for column in row._meta.concrete_fields
        if column.attname not in IGNORED_COLUMNS
    ]
    if label := labels.get(getattr(row, "address_id", None)):
        data.append(("label", label))
    return sorted(data)


@pytest.mark.fault("F-49")  # events arrive in another order
@pytest.mark.parametrize("at_once", [1, 2])
def test_edits_of_several_channels_and_hq_have_one_result(results_of_all_orders, at_once):
    results = results_of_all_orders(
        customer(0, first_name="Ann"),
        customer(1, "seattle", first_name="Anna", phone="111"),
        customer(2, "hq", first_name="Annie"),
        customer(3, "popup", first_name="Ann", email="ann@example.com"),
        at_once=at_once,
    )

    assert len(results) == 1


@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_a_field_that_an_edit_leaves_out_keeps_its_value(results_of_all_orders, at_once):
    [data] = results_of_all_orders(
        customer(0, language="nl", customer_group="30"),
        customer(1, "seattle", language="de"),
        customer(2, "hq", language="", currency="EUR"),
        customer(3, "popup", customer_group=""),
        at_once=at_once,
    )

    assert {("language", "de"), ("currency", "EUR"), ("customer_group", "30")} <= set(data[0])


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_deactivated_customer_keeps_its_last_values(results_of_all_orders, at_once):
    [data] = results_of_all_orders(
        customer(0, first_name="Ann"),
        customer(1, "seattle", first_name="Anna"),
        customer(2, "hq", first_name="Annie"),
        customer(3, "popup", operation="deactivate", last_name=""),
        at_once=at_once,
    )

    assert {("first_name", "Annie"), ("is_active", "False")} <= set(data[0])


@pytest.mark.parametrize("at_once", [1, 2])
def test_a_removed_address_keeps_its_last_values(results_of_all_orders, houston, at_once):
    [data] = results_of_all_orders(
        customer(0),
        address("A", 1, city="One"),
        address("A", 2, "seattle", city="Two"),
        address("A", 3, "popup", operation="deactivate", city=""),
        at_once=at_once,
    )
    run(JobCode.DOWNLOAD)

    assert any(("city", "Two") in row for row in data)
    delivered = query(houston, "SELECT DISTINCT city, is_active FROM customer_address")
    assert delivered == [("Two", False)]


@pytest.mark.fault("F-49")  # events arrive in another order
@pytest.mark.parametrize("at_once", [1, 2])
def test_the_last_edit_decides_which_address_is_primary(results_of_all_orders, houston, at_once):
    results = results_of_all_orders(
        customer(0),
        address("A", 1, is_primary=True),
        address("B", 2, "seattle", is_primary=True),
        address("B", 3, "seattle", is_primary=False),
        address("C", 4, "hq", is_primary=False),
        at_once=at_once,
    )
    run(JobCode.DOWNLOAD)

    assert len(results) == 1
    assert query(houston, "SELECT count(*) FROM customer_address WHERE is_primary") == [(0,)]


def test_primary_addresses_that_change_their_purpose_have_one_result(results_of_all_orders):
    results = results_of_all_orders(
        customer(0),
        address("A", 1, is_primary=True),
        address("B", 2, "seattle", is_primary=True),
        address("A", 3, "popup", is_primary=True, purpose="delivery"),
        address("B", 4, "hq", is_primary=True, city="Austin"),
        at_once=1,
    )

    assert len(results) == 1


@pytest.mark.parametrize("at_once", [1, 2, 4])
def test_of_simultaneous_edits_the_last_channel_code_wins(results_of_all_orders, at_once):
    [data] = results_of_all_orders(
        customer(0, first_name="Ann"),
        customer(5, "seattle", first_name="Of Seattle"),
        customer(5, "popup", first_name="Of Popup"),
        customer(5, "hq", first_name="Of HQ"),
        at_once=at_once,
    )

    assert ("first_name", "Of Seattle") in data[0]


@pytest.mark.parametrize("at_once", [1, 2])
def test_edits_of_affiliations_and_attributes_have_one_result(results_of_all_orders, at_once):
    results = results_of_all_orders(
        customer(0),
        Event("affiliation", 1, "seattle"),
        Event("affiliation", 2, "popup", {"operation": "deactivate"}),
        Event("attribute", 3, "seattle", {"value": "L"}),
        Event("attribute", 4, "hq", {"value": "XL"}),
        at_once=at_once,
    )

    assert len(results) == 1
