"""What a register wrote offline reaches HQ on two ways, and counts once.

Its till merges it into the database of its store, and HQ visits both. From conftest.py: `store` is
a store, once on PostgreSQL and once on SQLite (its first account is 005001); `seattle` is another
store on PostgreSQL; `command` calls a management command and returns its output; `back_up_hq` backs
up HQ; `recover_hq` calls the command and returns its document.
"""

import json
from collections.abc import Iterator
from uuid import UUID

import pytest

from stores.models import (
    AsyncAddress,
    AsyncCustomer,
    AttributeDefinition,
    ChannelDatabase,
    Company,
    Customer,
    DayBalance,
    EditConflict,
    Incident,
    Quarantine,
    RetailTransaction,
    RetailTransactionLine,
    RetailTransactionPayment,
)
from stores.models.job import JobCode
from stores.pipeline.corrections.quarantine import release_batch
from tests.support.damage import kinds_of_differences, reconcile
from tests.support.make import (
    article,
    lookup,
    make_customer,
    make_event,
    make_sale,
    out_of_reach,
    run,
    unacknowledged,
)
from tests.support.promises import failed_checks
from tests.support.registers import merge, offline_register, run_for
from tests.support.traces import get_trace, trace_document

pytestmark = pytest.mark.slow

ORDERS = ["register_first", "store_first"]
# The two engines write amounts differently. What does not depend on it runs once.
on_postgresql = pytest.mark.parametrize("store", ["houston"], indirect=True)


@pytest.fixture
def till_1(store) -> Iterator[ChannelDatabase]:
    with offline_register(store) as database:
        yield database


@pytest.fixture(params=ORDERS)
def visits(request, store, till_1) -> list[ChannelDatabase]:
    """The two databases in the order in which HQ visits them."""
    return [till_1, store] if request.param == "register_first" else [store, till_1]


def make_ann(till_1: ChannelDatabase) -> UUID:
    """Ann with an address, an edit and a sale of 16.05, written by the offline register."""
    guid = make_customer(till_1, "Ann", created_offline=True)
    make_event("address", till_1, async_account=guid, created_offline=True)
    make_sale(till_1, "10.00", "5.00", async_account=guid, created_offline=True)
    return guid


def assert_counted_once(*databases: ChannelDatabase) -> None:
    assert AsyncCustomer.objects.count() == AsyncAddress.objects.count() == 1
    sale = RetailTransaction.objects.get()
    assert str(sale.gross_amount) == "16.0500"
    assert (RetailTransactionLine.objects.count(), RetailTransactionPayment.objects.count()) == (
        2,
        1,
    )
    assert not Quarantine.objects.exists()
    assert not Incident.objects.exists()
    assert not EditConflict.objects.exists()
    assert [unacknowledged(database) for database in databases] == [0] * len(databases)
    captured = DayBalance.objects.values_list("table", "captured", "difference")
    assert sorted(captured) == [
        ("async_address", 1, 0),
        ("async_customer", 1, 0),
        ("retail_transaction", 1, 0),
        ("retail_transaction_line", 2, 0),
        ("retail_transaction_payment", 1, 0),
    ]


@pytest.mark.scenario(id="T19")
def test_what_a_register_made_offline_is_seen_in_its_store_and_becomes_one_account(
    store, seattle, till_1
):
    with out_of_reach(till_1):
        guid = make_ann(till_1)
        run(JobCode.PIPELINE)
    assert lookup(till_1) == [("Pending sync", "Ann")]
    assert lookup(store) == []

    merge(till_1, store)
    assert lookup(store) == [("Pending sync", "Ann")]

    for _ in range(2):
        run(JobCode.PIPELINE)
    for database in (store, till_1, seattle):
        assert lookup(database) == [("005001", "Ann")]
    assert Customer.objects.get(number__isnull=False).guids.get().pk == guid
    assert_counted_once(store, till_1)
    assert failed_checks(full=True) == {}


def test_an_event_of_two_databases_is_one_at_headquarters(store, till_1, visits, capsys):
    guid = make_ann(till_1)
    merge(till_1, store)

    for database in visits:
        run_for(database, JobCode.UPLOAD)
    assert_counted_once(store, till_1)
    run(JobCode.PIPELINE)
    run(JobCode.END_OF_DAY)

    assert_counted_once(store, till_1)
    assert failed_checks(full=True) == {}
    status, document = reconcile(capsys)
    assert (status, kinds_of_differences(document)) == (0, {})
    assert get_trace(guid).state == "distributed"
    captured = [event for event in get_trace(guid).events if event.kind == "captured"]
    assert len(captured) == 2


def test_a_register_that_is_merged_after_its_visit_is_not_counted_again(store, till_1):
    make_ann(till_1)
    run(JobCode.PIPELINE)

    merge(till_1, store)
    run(JobCode.PIPELINE)

    assert_counted_once(store, till_1)
    assert lookup(store) == [("005001", "Ann")]
    assert failed_checks(full=True) == {}


@on_postgresql
def test_a_register_that_never_comes_back_is_at_headquarters_once_it_was_merged(store, till_1):
    make_ann(till_1)
    merge(till_1, store)

    with out_of_reach(till_1):
        run(JobCode.PIPELINE)

    assert lookup(store) == [("005001", "Ann")]
    assert RetailTransaction.objects.count() == 1


@on_postgresql
def test_edits_that_arrive_on_both_ways_leave_the_customer_as_the_register_does(
    store, till_1, visits
):
    guid = make_customer(till_1, "Ann", created_offline=True, terminal_id="T1", phone="1")
    run_for(till_1, JobCode.UPLOAD)
    for name in ("Anna", "Anne"):
        make_customer(till_1, name, guid=guid, operation="update", terminal_id="T1", phone="2")
        merge(till_1, store)
        run_for(visits[name == "Anne"], JobCode.UPLOAD)
        run(JobCode.CONVERT)

    run(JobCode.PIPELINE)

    assert Customer.objects.get(number__isnull=False).first_name == "Anne"
    assert AsyncCustomer.objects.count() == 3
    assert failed_checks(full=True) == {}


@on_postgresql
def test_a_row_that_headquarters_cannot_use_is_quarantined_once(store, till_1, visits):
    guid = make_customer(till_1, "Ann")
    make_event("address", till_1, async_account=guid, county="much too long")
    make_sale(till_1, lines=[article(quantity="2.50")], async_account=guid, currency="XXX")
    merge(till_1, store)

    for database in visits:
        run_for(database, JobCode.UPLOAD)

    assert sorted(Quarantine.objects.values_list("table", "reason")) == [
        ("async_address", "too_long"),
        ("retail_transaction", "unknown_word"),
    ]
    assert unacknowledged(store) == unacknowledged(till_1) == 0
    run(JobCode.PIPELINE)
    assert failed_checks(full=True) == {}


@pytest.fixture
def size(store, till_1, visits) -> AttributeDefinition:
    """An attribute that was defined after HQ had quarantined it from the first database."""
    Company.objects.update(known_attributes_only=True)
    guid = make_customer(till_1, "Ann")
    make_event("attribute", till_1, async_account=guid, attribute="SIZE", value="M")
    merge(till_1, store)
    run_for(visits[0], JobCode.UPLOAD)
    assert Quarantine.objects.open().get().reason == "attribute_unknown"
    return AttributeDefinition.objects.create(company=store.channel.company, name="SIZE")


@on_postgresql
def test_a_quarantined_row_that_passes_when_it_comes_from_the_other_database_is_closed(
    visits, size
):
    run_for(visits[1], JobCode.UPLOAD)
    run(JobCode.PIPELINE)

    assert Quarantine.objects.get().status == "released"
    assert Customer.objects.get(number__isnull=False).attributes.get().value == "M"
    assert failed_checks(full=True) == {}


@on_postgresql
def test_a_row_that_was_released_is_known_when_it_comes_from_the_other_database(visits, size):
    release_batch([Quarantine.objects.get().pk], by=None, because="Defined.")

    run_for(visits[1], JobCode.UPLOAD)
    run(JobCode.PIPELINE)

    assert Quarantine.objects.get().status == "released"
    assert failed_checks(full=True) == {}


@on_postgresql
def test_a_trace_does_not_wait_for_an_event_that_came_from_the_other_database(
    store, till_1, visits, command
):
    guid = make_ann(till_1)
    merge(till_1, store)
    run_for(visits[0], JobCode.UPLOAD)

    document = trace_document(command, guid, "--look-in-channels")

    assert "pending_upload" not in [event["kind"] for event in document["events"]]


@on_postgresql
@pytest.mark.fault("F-33")  # HQ was restored from a backup
def test_a_recovery_fetches_what_both_databases_have_once(store, till_1, back_up_hq, recover_hq):
    backup = back_up_hq()
    make_ann(till_1)
    merge(till_1, store)
    run(JobCode.PIPELINE)
    backup.restore()

    run(JobCode.PIPELINE)
    recover_hq()
    for _ in range(2):
        run(JobCode.PIPELINE)

    assert (AsyncCustomer.objects.count(), RetailTransaction.objects.count()) == (1, 1)
    assert Customer.objects.get(number__isnull=False).account_number == "005001"
    assert not Quarantine.objects.exists()
    assert failed_checks(full=True) == {}


@on_postgresql
def test_an_event_that_says_something_else_in_the_store_is_quarantined_once(store, till_1, visits):
    make_sale(store, "10.00", transaction_id="T-1")
    make_sale(till_1, "20.00", transaction_id="T-1")
    assert len(merge(till_1, store).conflicts) == 1

    for _ in range(2):
        for database in visits:
            run_for(database, JobCode.UPLOAD)

    assert RetailTransaction.objects.get().database == visits[0]
    row = Quarantine.objects.get()
    assert (row.database, row.reason) == (visits[1], "document_conflict")
    assert json.loads(bytes(row.raw))["transaction_id"] == "T-1"
