"""Edits whose makers did not know of each other: the later stays, both values are kept."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from stores.models import ChannelDatabase, Customer, EditConflict
from stores.pipeline.corrections.customer import Edit, complete_state, save_edits
from stores.pipeline.corrections.events import create_event as make_hq_event
from stores.pipeline.events.kinds import CUSTOMER
from stores.pipeline.integrity.verify import verify
from tests.support.make import make_customer, make_event, run

pytestmark = pytest.mark.slow

HOUR = timedelta(hours=1)


def ago(minutes: int) -> datetime:
    return timezone.now() - timedelta(minutes=minutes)


@pytest.fixture
def known(store, seattle) -> UUID:
    """Ann's GUID; both stores know her account."""
    guid = make_customer(store, "Ann", occurred_at=ago(120), phone="111 111")
    run("pipeline")
    return guid


def ann() -> Customer:
    return Customer.objects.get(account_number="005001")


def edit(shop: ChannelDatabase, minutes: int = 0, **columns: Any) -> None:
    """An edit of Ann by a till that knows her account, so many minutes ago."""
    whole = {"first_name": "Ann", "phone": "111 111", "account_number": "005001"}
    whole |= {"operation": "update", "occurred_at": ago(minutes)}
    make_event("customer", shop, **(whole | columns))


def edit_at_hq(**changed: Any) -> None:
    """An edit of Ann that a person makes in HQ now."""
    user, _ = User.objects.get_or_create(username="robin")
    values = {"operation": "update", **complete_state(CUSTOMER, ann(), changed)}
    save_edits(ann(), [Edit(CUSTOMER, values)], version=ann().hq_version, by=user)


def convert() -> None:
    run("P-0001")
    run("sync-customers")


def conflict_rows() -> list[tuple[str, ...]]:
    """Every conflict: field, value and place that lost, value and place that stayed."""
    rows = EditConflict.objects.with_places().order_by("pk")
    return [
        (row.field, row.lost_value, row.lost_place, row.kept_value, row.kept_place) for row in rows
    ]


@pytest.mark.fault("F-50")
@pytest.mark.parametrize("is_converted_between", [False, True])
def test_an_edit_of_headquarters_that_a_till_did_not_see_loses_to_it(
    store, known, is_converted_between
):
    edit_at_hq(phone="222 222")
    if is_converted_between:
        run("sync-customers")
    edit(store, phone="333 333")

    convert()

    assert ann().phone == "333 333"
    label = store.label
    assert conflict_rows() == [("phone", "222 222", "headquarters", "333 333", label)]
    assert EditConflict.objects.get().choice == "rule"


@pytest.mark.fault("F-50")
@pytest.mark.parametrize("is_uploaded_first", [False, True])
def test_an_edit_of_a_till_that_came_too_late_loses_to_headquarters(
    store, known, is_uploaded_first
):
    edit(store, 60, phone="333 333")
    if is_uploaded_first:
        run("P-0001")
        # Saving would apply what waits first, and be refused; a correction of a row is not.
        with transaction.atomic():
            values = {"operation": "update", "account_number": "005001"}
            values |= complete_state(CUSTOMER, ann(), {"phone": "222 222"})
            make_hq_event(ann().company, CUSTOMER, values)
    else:
        edit_at_hq(phone="222 222")

    convert()

    assert ann().phone == "222 222"
    assert conflict_rows() == [("phone", "333 333", store.label, "222 222", "headquarters")]


def test_two_channels_that_change_the_same_field_keep_both_values(store, seattle, known):
    edit(store, 20, phone="222 222")
    edit(seattle, 10, phone="333 333")

    convert()

    assert ann().phone == "333 333"
    assert conflict_rows() == [("phone", "222 222", store.label, "333 333", "seattle")]


def test_what_one_of_them_left_as_it_was_is_no_conflict(store, seattle, known):
    edit(store, 20, phone="222 222")
    edit(seattle, 10, email="ann@example.com")

    convert()

    # The later edit carries the whole state, and with it the old phone number.
    assert (ann().phone, ann().email) == ("111 111", "ann@example.com")
    assert conflict_rows() == [("phone", "222 222", store.label, "111 111", "seattle")]


def test_who_has_seen_the_other_edit_does_not_contend_with_it(store, seattle, known):
    edit(store, 0, phone="222 222")
    run("pipeline")
    edit(seattle, 0, phone="333 333")
    convert()
    edit_at_hq(phone="444 444")
    run("1010")
    edit(store, 0, phone="555 555")
    convert()

    assert ann().phone == "555 555"
    assert conflict_rows() == []


def test_parts_of_a_customer_contend_one_by_one(store, seattle, known):
    address = {"address_id": uuid4(), "async_account": known}
    make_event("address", store, **address, occurred_at=ago(100))
    make_event("attribute", store, async_account=known, value="M", occurred_at=ago(100))
    run("pipeline")
    for shop, minutes, city, size in ((store, 20, "Austin", "L"), (seattle, 10, "Dallas", "XL")):
        how = {"operation": "update", "occurred_at": ago(minutes)}
        make_event("address", shop, **address, **how, city=city)
        make_event("attribute", shop, async_account=known, **how, value=size)

    convert()

    assert conflict_rows() == [
        ("city", "Austin", store.label, "Dallas", "seattle"),
        ("value", "L", store.label, "XL", "seattle"),
    ]
    keys = EditConflict.objects.order_by("pk").values_list("key", flat=True)
    assert list(keys) == [str(address["address_id"]), "SIZE"]


def test_an_edit_before_a_later_removal_loses_nothing(store, seattle, known):
    edit(store, 20, phone="222 222")
    edit(seattle, 10, operation="deactivate")

    convert()

    assert (ann().phone, ann().is_active) == ("222 222", False)
    assert conflict_rows() == []


@pytest.mark.parametrize(
    ("clock", "is_open"),
    [
        (datetime(2000, 1, 1, tzinfo=UTC), True),
        (datetime(2099, 1, 1, tzinfo=UTC), True),
        (timedelta(minutes=16), True),
        (timedelta(minutes=14), False),
        (timedelta(minutes=-100), False),
        (timedelta(minutes=-140), True),
    ],
)
def test_a_clock_that_is_more_than_15_minutes_off_opens_the_conflict(
    houston, seattle, clock, is_open
):
    make_customer(houston, "Ann", occurred_at=ago(120), phone="111 111")
    run("pipeline")
    edit_at_hq(phone="222 222")
    at = clock if isinstance(clock, datetime) else timezone.now() + clock
    guid = ann().guids.get().pk
    edit(seattle, phone="333 333", async_account=guid, account_number=None, occurred_at=at)

    convert()

    [conflict] = EditConflict.objects.all()
    assert {conflict.lost_value, conflict.kept_value} == {"222 222", "333 333"}
    assert (conflict.clock_skewed, conflict.state) == (
        is_open,
        "open" if is_open else "closed",
    )


def test_a_clock_that_was_set_back_opens_the_conflict(store, seattle, known):
    edit(store, 30, email="ann@example.com")
    edit(store, 60, phone="222 222", email="ann@example.com")
    edit(seattle, 20, phone="333 333")

    convert()

    assert {row.clock_skewed for row in EditConflict.objects.all()} == {True}


def test_running_again_finds_nothing_more(store, seattle, known):
    edit(store, 20, phone="222 222")
    edit(seattle, 10, phone="333 333")
    convert()

    run("pipeline")
    run("sync-customers")

    assert EditConflict.objects.count() == 1
    assert [check for check in verify() if not check.ok] == []


def test_new_customers_are_not_looked_at(houston, seattle):
    for name in ("Ann", "Bo"):
        guid = make_customer(houston, name)
        make_event("address", houston, async_account=guid)
    run("P-0001")

    with CaptureQueriesContext(connection) as captured:
        run("sync-customers")

    assert not [query for query in captured if "edit_conflict" in query["sql"]]


def test_the_trace_tells_both_values(store, seattle, known, command):
    edit(store, 20, phone="222 222")
    edit(seattle, 10, phone="333 333")
    convert()

    told = " ".join(command("trace", "005001").split())

    expected = f"Customer phone: 222 222 of {store.label} was replaced by 333 333 of seattle"
    assert f"{expected}; neither side had seen the other change." in told


def test_the_trace_tells_edits_of_one_moment_in_the_order_that_counts(seattle, popup, command):
    guid = make_customer(seattle, "Ann", occurred_at=ago(120), phone="111 111")
    run("pipeline")
    moment = ago(10)
    for shop, phone in ((seattle, "222 222"), (popup, "333 333")):
        edit(shop, async_account=guid, phone=phone, occurred_at=moment)
    convert()

    told = " ".join(command("trace", "005001").split())

    # Popup is the later database here, and the earlier code.
    assert ann().phone == "222 222"
    assert "Customer edited: phone 333 333 -> 222 222." in told
