"""A row that a database refuses stops no other row, and a user sees it.

The refusals come from triggers that the product does not know.

From conftest.py: `houston` is a store on PostgreSQL; `seattle` is another store on PostgreSQL;
`popup` is one on SQLite; `store` is a store, once on PostgreSQL and once on SQLite.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from stores.messages.message import EMPTY
from stores.models import (
    Balance,
    Case,
    ChannelDatabase,
    Customer,
    CustomerAddress,
    Incident,
    Quarantine,
    RetailTransaction,
    UploadBatch,
)
from stores.models.job import JobCode
from stores.pipeline.corrections.quarantine import release_rows
from tests.support.after_a_fault import waiting
from tests.support.make import article, lookup, make_customer, make_event, make_sale, run
from tests.support.refusals import channel_refuses, hq_refuses, open_problems

pytestmark = [pytest.mark.slow, pytest.mark.finding(id="S3")]

# What each staging table refuses in the tests of uploads.
BAD_ROWS = {
    "async_customer": "NEW.last_name = 'Bad'",
    "async_address": "NEW.city = 'Bad'",
    "async_contact": "NEW.locator = 'bad@example.com'",
    "async_affiliation": "NEW.affiliation = 'BAD'",
    "async_attribute": "NEW.value = 'BAD'",
    "retail_transaction": "NEW.receipt_number = 'BAD'",
    "retail_transaction_line": "NEW.item_id = 'BAD'",
    "retail_transaction_payment": "NEW.tender_type = 'BAD'",
}


def make_good_row_of_each_kind(store: ChannelDatabase, guid, number: int) -> None:
    make_customer(store, "Bo", last_name="Lee")
    make_event("address", store, async_account=guid, city="Bonn")
    make_event("contact", store, async_account=guid, locator=f"{number}@example.com")
    make_event("affiliation", store, async_account=guid, affiliation=f"A{number}")
    make_event("attribute", store, async_account=guid, attribute=f"A{number}", value="M")
    make_sale(store, async_account=guid, receipt_number="R")


def make_bad_row_of_each_kind(store: ChannelDatabase, guid, number: int) -> None:
    make_customer(store, "Bo", last_name="Bad")
    make_event("address", store, async_account=guid, city="Bad")
    make_event("contact", store, async_account=guid, locator="bad@example.com")
    make_event("affiliation", store, async_account=guid, affiliation="BAD")
    make_event("attribute", store, async_account=guid, attribute=f"A{number}", value="BAD")
    make_sale(store, async_account=guid, receipt_number="BAD")


def count_customers() -> int:
    return Customer.objects.filter(number__isnull=False).count()


def count_waiting(store: ChannelDatabase) -> int:
    """How many customers and sales HQ has not acknowledged."""
    return waiting(store, "async_customer") + waiting(store, "retail_transaction")


@pytest.mark.parametrize("code", ["P0001", "23514", "40001", "57014", "53100", "42P01", "XX000"])
def test_a_refusal_with_any_error_code_concerns_one_row(popup, code):
    make_customer(popup, "Bad")
    make_customer(popup, "Good")

    with hq_refuses("async_customer", "NEW.first_name = 'Bad'", code=code):
        result = run("pipeline")

    assert (result["outcome"], result["counts"]["converted"]) == ("succeeded", 1)
    assert Quarantine.objects.get().reason == "refused"


@pytest.fixture
def rows_of_every_table(store) -> None:
    """Six good rows of each kind and, between them, three bad ones; and two more bad sales."""
    guid = make_customer(store, "Ann")
    for number in (0, 3, 6):
        make_good_row_of_each_kind(store, guid, number)
        make_bad_row_of_each_kind(store, guid, number + 1)
        make_good_row_of_each_kind(store, guid, number + 2)
    payment = {"tender_type": "BAD", "amount": "10.70", "currency": "USD"}
    make_sale(store, transaction_id="T-1", lines=[article(item_id="BAD")])
    make_sale(store, transaction_id="T-2", payments=[payment])


@contextmanager
def hq_refuses_bad_rows() -> Iterator[None]:
    with ExitStack() as triggers:
        for table, condition in BAD_ROWS.items():
            triggers.enter_context(hq_refuses(table, condition))
        yield


def test_refused_rows_of_every_table_are_quarantined(rows_of_every_table):
    with hq_refuses_bad_rows():
        result = run("pipeline")
        quarantined = [str(row.pk) for row in Quarantine.objects.all()]
        released_too_early = release_rows(quarantined)

    assert result["outcome"] == "succeeded"
    assert set(Quarantine.objects.values_list("reason", flat=True)) == {"refused"}
    # Three rows of each of six kinds, and the two sales.
    assert len(quarantined) == 20
    assert released_too_early.done == 0
    # Ann, and the customers and sales of the good rows.
    assert (count_customers(), RetailTransaction.objects.count()) == (7, 6)


def test_refused_rows_of_every_table_can_be_released_later(rows_of_every_table):
    with hq_refuses_bad_rows():
        run("pipeline")

    released = release_rows([str(row.pk) for row in Quarantine.objects.all()])
    run("pipeline")

    assert released.done == 20
    assert (count_customers(), RetailTransaction.objects.count()) == (10, 11)


@pytest.fixture
def unquarantined_rows(store) -> dict[str, Any]:
    """A bad customer and a bad sale that HQ could not quarantine, and a good one of each."""
    make_customer(store, "Bad", email="no address")
    make_customer(store, "Good")
    make_sale(store, transaction_type="gift")
    make_sale(store)
    with hq_refuses("quarantine", "NEW.reason <> ''"):
        return run("pipeline")


def test_a_row_that_cannot_be_quarantined_stays_in_its_channel(store, unquarantined_rows):
    assert unquarantined_rows["outcome"] == "succeeded"
    assert unquarantined_rows["counts"]["waiting"] == 2
    assert Customer.objects.filter(first_name="Good", number__isnull=False).exists()
    assert RetailTransaction.objects.count() == 1
    assert open_problems() == {"incident: events"}
    assert count_waiting(store) == 2


def test_a_row_that_stayed_in_its_channel_is_quarantined_later(store, unquarantined_rows):
    run("pipeline")

    assert Quarantine.objects.count() == 2
    assert not Incident.objects.open().exists()
    assert count_waiting(store) == 0


def test_a_customer_refused_at_conversion_stops_no_other(houston, popup):
    make_customer(houston, "Bad")
    good = make_customer(houston, "Good")
    make_event("address", houston, async_account=good, city="Bad")
    make_event("address", houston, async_account=good, city="Bonn")

    with (
        hq_refuses("customer", "NEW.first_name = 'Bad'"),
        hq_refuses("customer_address", "NEW.city = 'Bad'"),
    ):
        result = run("pipeline")

    assert (result["outcome"], result["counts"]["converted"]) == ("succeeded", 1)
    assert CustomerAddress.objects.get().city == "Bonn"
    assert [case.reason for case in Case.objects.unsettled()] == ["refused", "refused"]


@pytest.fixture
def unmarked_events(houston, popup) -> dict[str, Any]:
    """A customer and an address that HQ refused and could not mark as refused.

    In the same batch are the good customer, an edit of it and another address.
    """
    make_customer(houston, "Bad")
    good = make_customer(houston, "Good")
    run(JobCode.UPLOAD)
    make_event("address", houston, async_account=good, city="Bad")
    make_event("address", houston, async_account=good, city="Bonn")
    make_event("customer", houston, async_account=good, operation="update", first_name="Better")
    with (
        hq_refuses("customer", "NEW.first_name = 'Bad'"),
        hq_refuses("customer_address", "NEW.city = 'Bad'"),
        hq_refuses("open_event", "NEW.reason = 'refused'"),
    ):
        return run("pipeline")


def test_a_refused_event_that_cannot_be_marked_stops_no_other(unmarked_events):
    assert unmarked_events["outcome"] == "succeeded"
    assert unmarked_events["counts"]["waiting"] == 2
    assert Customer.objects.filter(first_name="Better").exists()
    assert CustomerAddress.objects.get().city == "Bonn"
    assert open_problems() == {"incident: events of USRT"}


def test_an_event_that_could_not_be_marked_is_tried_again(unmarked_events):
    run("pipeline")

    assert Customer.objects.filter(first_name="Bad").exists()
    assert CustomerAddress.objects.count() == 2
    assert open_problems() == set()
    assert not UploadBatch.objects.unconverted().exists()


def test_a_refused_day_of_the_balance_stops_no_other(houston, popup):
    make_customer(houston)
    make_customer(popup)
    condition = f"NEW.database_id = {houston.pk} AND NEW.\"table\" = 'async_customer'"

    with hq_refuses("balance", condition, on="INSERT OR UPDATE"):
        result = run("pipeline")

    assert (result["outcome"], result["counts"]["converted"]) == ("succeeded", 2)
    assert set(Balance.objects.values_list("database", flat=True)) == {popup.pk}
    assert open_problems() == {"incident: days of the balance of USRT"}

    make_customer(houston)
    run("pipeline")

    assert set(Balance.objects.values_list("database", flat=True)) == {houston.pk, popup.pk}
    assert open_problems() == set()


@pytest.fixture
def refusing_store(store, seattle) -> ChannelDatabase:
    """A store that has refused to write Bad, and to mark the event of Marked as acknowledged."""
    make_customer(seattle, "Good")
    make_customer(seattle, "Bad")
    make_customer(store, "Marked")
    make_customer(store, "Plain")
    with (
        channel_refuses(store, "customer", "NEW.first_name = 'Bad'", on="INSERT"),
        channel_refuses(store, "async_customer", "NEW.first_name = 'Marked'", on="UPDATE"),
    ):
        assert run("pipeline")["outcome"] == "succeeded"
    return store


def test_a_channel_that_refuses_one_customer_gets_the_others(refusing_store, seattle):
    assert sorted(name for _, name in lookup(refusing_store)) == ["Good", "Marked", "Plain"]
    assert len(lookup(seattle)) == 4
    assert open_problems() == {"incident: customers", "incident: events"}
    assert waiting(refusing_store) == 1


def test_a_channel_gets_what_it_no_longer_refuses(refusing_store):
    run("pipeline")

    assert len(lookup(refusing_store)) == 4
    assert open_problems() == set()
    assert waiting(refusing_store) == 0


def test_a_failed_upload_still_counts_after_a_good_download(houston, popup):
    make_customer(popup, "Ann")
    make_customer(houston, "Bo")

    with hq_refuses("upload_session", f"NEW.database_id = {houston.pk}", code="57014"):
        run("pipeline")

    houston.refresh_from_db()
    assert (houston.failures, houston.failed_step) == (1, "upload")
    assert houston.is_backing_off
    assert [name for _, name in lookup(houston)] == ["Ann", "Bo"]

    run("pipeline")

    houston.refresh_from_db()
    assert (houston.failures, houston.next_try_at, houston.last_error) == (0, None, EMPTY)
