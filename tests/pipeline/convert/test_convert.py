"""Conversion creates each account once and applies edits in their order.

From conftest.py: `seattle` is a store on PostgreSQL; `popup` is one on SQLite; `store` is a store,
once on PostgreSQL and once on SQLite. The first account is 005001: get_ann() finds Ann by it,
whatever her name.
"""

from datetime import datetime, timedelta
from threading import Barrier
from uuid import UUID, uuid4

import pytest
from django.utils import timezone

from stores.models import (
    AsyncAddress,
    AsyncCustomer,
    ChannelDatabase,
    Customer,
    CustomerAddress,
    GuidMap,
    NumberSequence,
)
from stores.models.job import JobCode
from tests.support.concurrency import start_in_thread
from tests.support.conversion import convert, get_ann
from tests.support.make import make_customer, make_event, run


def ago(hours: float) -> datetime:
    return timezone.now() - timedelta(hours=hours)


def rename(shop: ChannelDatabase, guid: UUID, first_name: str, occurred_at: datetime) -> None:
    """Write an edit of the customer's first name."""
    make_event(
        "customer",
        shop,
        async_account=guid,
        operation="update",
        first_name=first_name,
        occurred_at=occurred_at,
    )


@pytest.fixture
def ann_guid(popup) -> UUID:
    """The GUID of Ann, who has the account 005001."""
    guid = make_customer(popup, "Ann", occurred_at=ago(hours=2))
    convert()
    return guid


@pytest.mark.slow
def test_converting_twice_is_the_same_as_once(store):
    guid = make_customer(store, "Ann")
    for kind in ("address", "contact", "affiliation", "attribute"):
        make_event(kind, store, async_account=guid)
    convert()
    before = get_ann()

    conversion = run(JobCode.CONVERT)

    assert conversion["outcome"] == "nothing_to_do"
    after = get_ann()
    assert (after.hq_version, after.modified_at) == (before.hq_version, before.modified_at)
    # Ann's number, 5001, is the only one that was issued.
    assert NumberSequence.objects.get().next == 5002


@pytest.mark.slow
def test_two_conversions_at_once_issue_each_number_once_without_gaps(popup):
    for number in range(40):
        make_customer(popup, f"Ann {number}")
    # Before they start, so that each can convert every customer.
    run(JobCode.UPLOAD)
    barrier = Barrier(2)

    def run_at_once(job: str) -> None:
        barrier.wait(30)
        run(job)

    conversion = start_in_thread(run_at_once, JobCode.CONVERT)
    pipeline = start_in_thread(run_at_once, JobCode.PIPELINE)
    conversion.result(timeout=60)
    pipeline.result(timeout=60)
    # Each skips what the other has locked, so that something may be left.
    convert()

    numbers = Customer.objects.exclude(number=None).order_by("number")
    assert list(numbers.values_list("number", flat=True)) == list(range(5001, 5041))
    assert GuidMap.objects.count() == 40


def test_accounts_are_issued_in_the_order_of_the_guids(popup):
    guids = sorted(make_customer(popup, f"Ann {number}") for number in range(5))

    convert()

    in_order = GuidMap.objects.order_by("customer__number")
    assert list(in_order.values_list("async_account", flat=True)) == guids


@pytest.mark.slow
def test_an_older_edit_that_arrives_late_is_superseded(popup, seattle, ann_guid):
    # Seattle can edit Ann once it has received her.
    run(JobCode.DOWNLOAD)
    rename(popup, ann_guid, "Anna", timezone.now())
    convert()
    rename(seattle, ann_guid, "Old", ago(hours=1))

    convert()

    assert get_ann().first_name == "Anna"
    assert AsyncCustomer.objects.get(first_name="Old").status == "superseded"


@pytest.mark.slow
def test_an_older_edit_of_an_address_that_arrives_late_is_superseded(popup, seattle, ann_guid):
    run(JobCode.DOWNLOAD)
    address = {"async_account": ann_guid, "address_id": uuid4()}
    make_event("address", popup, **address, city="New", occurred_at=ago(hours=1))
    convert()
    make_event("address", seattle, **address, city="Old", occurred_at=ago(hours=2))

    convert()

    assert CustomerAddress.objects.get().city == "New"
    assert AsyncAddress.objects.get(city="Old").status == "superseded"


@pytest.mark.slow
def test_an_older_edit_of_the_first_store_is_superseded_too(popup, seattle, ann_guid):
    run(JobCode.DOWNLOAD)
    rename(seattle, ann_guid, "Last", timezone.now())
    convert()
    rename(popup, ann_guid, "First", ago(hours=1))

    convert()

    assert get_ann().first_name == "Last"
    assert AsyncCustomer.objects.get(first_name="First").status == "superseded"


@pytest.mark.slow
def test_the_later_row_of_a_channel_wins_whatever_its_clock_says(popup, ann_guid):
    rename(popup, ann_guid, "First", timezone.now())
    convert()
    # The clock of the till was set back.
    rename(popup, ann_guid, "Last", ago(hours=1))

    convert()

    assert get_ann().first_name == "Last"
