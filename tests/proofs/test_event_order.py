"""I33: what HQ holds follows from the events, and not from the order in which they arrive.

Each order of arrival is tried on a customer of its own, all of them side by side.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import permutations
from typing import Any
from uuid import UUID, uuid4, uuid5

import pytest
from django.utils import timezone

from stores.models import ChannelDatabase, Company, GuidMap
from stores.pipeline.events.rules import STAGING_MODELS
from tests.support.damage import damage
from tests.support.make import OWN, query, run

pytestmark = pytest.mark.slow

NOON = timezone.now().replace(microsecond=0) - timedelta(days=2)
LATEST = ("event_at", "event_database", "event_generation", "event_counter")
IMMATERIAL = {"id", "company_id", "account_number", "number", "hq_version", "created_at"}
IMMATERIAL |= {"modified_at", "customer_id", "address_id", "contact_id", *LATEST}


@dataclass(frozen=True)
class Told:
    """An event: of which kind and part, written where and when, and what it says."""

    kind: str
    minute: int
    place: str = "houston"
    part: str = ""
    says: dict[str, Any] = field(default_factory=dict)


def customer(minute: int, place: str = "houston", **says: Any) -> Told:
    return Told("customer", minute, place, says=says)


def address(part: str, minute: int, place: str = "houston", **says: Any) -> Told:
    return Told("address", minute, place, part, says)


@pytest.fixture
def places(houston, seattle, popup) -> dict[str, ChannelDatabase | None]:
    """Three databases of one channel, whose tills may name each other's customers, and HQ."""
    for register in (seattle, popup):
        # Past the trigger by which a database keeps its channel.
        damage(
            f"UPDATE channel_database SET channel_id = {houston.channel_id},"  # noqa: S608
            f" name = '{register.channel.code}' WHERE id = {register.pk}"
        )
    ours = ChannelDatabase.objects.with_channel().in_bulk([houston.pk, seattle.pk, popup.pk])
    databases = [ours[database.pk] for database in (houston, seattle, popup)]
    return dict(zip(("houston", "seattle", "popup", "hq"), [*databases, None], strict=True))


@pytest.fixture
def outcomes(places) -> Callable[..., list[Any]]:
    """What HQ holds of a customer after each order of arrival; equal outcomes are one."""

    def find(*events: Told, at_once: int = 1, orders: Sequence[Any] = ()) -> list[Any]:
        tried = list(orders or permutations(range(len(events))))
        people = [uuid4() for _ in tried]
        for start in range(0, len(events), at_once):
            arriving = [
                (person, index)
                for person, order in zip(people, tried, strict=True)
                for index in order[start : start + at_once]
            ]
            stage(places, events, arriving)
            run("sync-customers")
        found: list[Any] = []
        for person in people:
            if (held := held_of(person)) not in found:
                found.append(held)
        return found

    return find


def stage(places: Any, events: Sequence[Told], arriving: Sequence[tuple[UUID, int]]) -> None:
    """Put events where an upload would have put them, with the counters their tills gave them."""
    company = Company.objects.get()
    for kind, model in STAGING_MODELS.items():
        model.objects.bulk_create(
            as_event(model, places, company, person, index, events[index])
            for person, index in arriving
            if events[index].kind == kind
        )


def as_event(
    model: Any, places: Any, company: Company, person: UUID, index: int, told: Told
) -> Any:
    database = places[told.place]
    values = {"operation": "update" if index else "create"} | OWN[told.kind] | told.says
    if told.kind in ("address", "contact"):
        values[f"{told.kind}_id"] = uuid5(person, told.part)
    return model(
        event_id=uuid5(person, str(index)),
        origin="till" if database else "hq",
        database=database,
        for_database=None if database else places["houston"],
        company=company,
        replication_counter=person.int % 10**12 * 100 + index,
        occurred_at=NOON + timedelta(minutes=told.minute),
        async_account=person,
        **values,
    )


def held_of(person: UUID) -> Any:
    """All that HQ holds of a customer, without numbers, versions and who came when."""
    mine = GuidMap.objects.get(pk=person).customer
    parts = (mine.addresses, mine.contacts, mine.affiliations, mine.attributes)
    rows = [mine, *(row for part in parts for row in part.all())]
    return sorted((sorted(shown(row, person)) for row in rows), key=str)


def shown(row: Any, person: UUID) -> Iterator[tuple[str, str]]:
    for column in row._meta.concrete_fields:
        if column.attname not in IMMATERIAL:
            yield column.attname, str(getattr(row, column.attname))
    for part in "ABCD":
        if uuid5(person, part) in (getattr(row, "address_id", ""), getattr(row, "contact_id", "")):
            yield "part", part


@pytest.mark.fault("F-49")
def test_edits_of_several_channels_and_of_headquarters(outcomes):
    events = (
        customer(0, first_name="Ann"),
        customer(1, "seattle", first_name="Anna", phone="111"),
        customer(2, "hq", first_name="Annie"),
        customer(3, "popup", first_name="Ann", email="ann@example.com"),
    )
    assert len(outcomes(*events)) == 1
    assert len(outcomes(*events, at_once=2)) == 1


def test_what_an_edit_leaves_out_is_kept_from_the_one_before(outcomes):
    events = (
        customer(0, language="nl", customer_group="30"),
        customer(1, "seattle", language="de"),
        customer(2, "hq", language="", currency="EUR"),
        customer(3, "popup", customer_group=""),
    )
    for at_once in (1, 2, 4):
        [held] = outcomes(*events, at_once=at_once)
        assert {("language", "de"), ("currency", "EUR"), ("customer_group", "30")} <= set(held[0])


def test_a_deactivation_keeps_the_last_values_that_were_said(outcomes):
    gone = {"operation": "deactivate", "last_name": ""}
    events = (
        customer(0, first_name="Ann"),
        customer(1, "seattle", first_name="Anna"),
        customer(2, "hq", first_name="Annie"),
        customer(3, "popup", **gone),
    )
    for at_once in (1, 2):
        [held] = outcomes(*events, at_once=at_once)
        assert {("first_name", "Annie"), ("is_active", "False")} <= set(held[0])


def test_an_address_that_is_changed_and_removed_in_several_places(outcomes, houston):
    events = (
        customer(0),
        address("A", 1, city="One"),
        address("A", 2, "seattle", city="Two"),
        address("A", 3, "popup", operation="deactivate", city=""),
    )
    for at_once in (1, 2):
        [held] = outcomes(*events, at_once=at_once)
        assert ("city", "Two") in [pair for row in held for pair in row]
        run("1010")
        shown = "SELECT DISTINCT city, is_active FROM customer_address"
        assert query(houston, shown) == [("Two", False)]


@pytest.mark.fault("F-49")
def test_which_of_several_addresses_is_the_primary_one(outcomes, houston):
    events = (
        customer(0),
        address("A", 1, is_primary=True),
        address("B", 2, "seattle", is_primary=True),
        address("B", 3, "seattle", is_primary=False),
        address("C", 4, "hq", is_primary=False),
    )
    for at_once in (1, 2):
        assert len(outcomes(*events, at_once=at_once)) == 1
        run("1010")
        primaries = "SELECT count(*) FROM customer_address WHERE is_primary"
        assert query(houston, primaries) == [(0,)]


def test_primary_addresses_that_change_their_purpose(outcomes):
    events = (
        customer(0),
        address("A", 1, is_primary=True),
        address("B", 2, "seattle", is_primary=True),
        address("A", 3, "popup", is_primary=True, purpose="delivery"),
        address("B", 4, "hq", is_primary=True, city="Austin"),
    )
    assert len(outcomes(*events)) == 1


def test_at_one_moment_the_channel_with_the_later_code_wins(outcomes):
    events = (
        customer(0, first_name="Ann"),
        customer(5, "seattle", first_name="Of Seattle"),
        customer(5, "popup", first_name="Of Popup"),
        customer(5, "hq", first_name="Of headquarters"),
    )
    for at_once in (1, 2, 4):
        [held] = outcomes(*events, at_once=at_once)
        assert ("first_name", "Of Seattle") in held[0]


def test_groups_and_attributes_that_come_and_go(outcomes):
    events = (
        customer(0),
        Told("affiliation", 1, "seattle"),
        Told("affiliation", 2, "popup", says={"operation": "deactivate"}),
        Told("attribute", 3, "seattle", says={"value": "L"}),
        Told("attribute", 4, "hq", says={"value": "XL"}),
    )
    for at_once in (1, 2):
        assert len(outcomes(*events, at_once=at_once)) == 1
