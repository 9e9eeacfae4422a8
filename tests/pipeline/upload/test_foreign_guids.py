"""A channel may only name the GUIDs that it created or was sent, in events of every table.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `seattle` is
another store on PostgreSQL; `store` is a store, once on PostgreSQL and once on SQLite; `register`
registers a channel by its code, such as `popup`, which is on SQLite; `back_up` backs up a channel
database; `back_up_hq` backs up HQ; `command` calls a management command and returns its output;
`recover_hq` calls the command and returns its document.
"""

from collections.abc import Iterable
from uuid import UUID, uuid4

import pytest
from django.utils import timezone

from stores import failpoints
from stores.models import (
    Case,
    ChannelDatabase,
    Customer,
    CustomerAddress,
    Quarantine,
    RetailTransaction,
    UploadBatch,
)
from stores.models.job import JobCode
from stores.pipeline.events.kinds import CHILDREN, EVENT_KINDS, EventKind
from tests.support.concurrency import start_in_thread
from tests.support.damage import checks_failed_by, damage
from tests.support.invariants import Invariant
from tests.support.make import make_customer, make_event, make_sale, query, run, unacknowledged
from tests.support.orders import make_order
from tests.support.processes import dying_at
from tests.support.promises import broken_promises

pytestmark = pytest.mark.slow

ALL_TABLES = [*(kind.event for kind in EVENT_KINDS), "retail_transaction"]
AFTER_CHANNEL_COMMIT = "download:after_channel_commit"


@pytest.fixture
def foreign_shop(register, seattle) -> ChannelDatabase:
    """A store of another company, on SQLite."""
    return register("popup", company="EURT", account_format="E-####", first_number=1)


def name_guid(
    database: ChannelDatabase, guid: UUID, kinds: Iterable[EventKind] = EVENT_KINDS
) -> None:
    """Write an event of each kind, and a sale, that name the GUID."""
    for kind in kinds:
        make_event(kind.noun, database, async_account=guid, operation="update")
    make_sale(database, async_account=guid, transaction_id=f"T-{database.channel.code}")


def refused_rows() -> dict[str, set[tuple[str, str]]]:
    """Table and reason of the rows that are quarantined or failed, by channel."""
    refused: dict[str, set[tuple[str, str]]] = {}
    for case in Case.objects.unsettled().select_related("database__channel"):
        channel = case.database.channel.code
        refused.setdefault(channel, set()).add((case.table, case.reason))
    return refused


@pytest.mark.finding(id="A5")
def test_a_guid_that_was_not_sent_to_a_channel_is_refused(houston, seattle, foreign_shop):
    ann = make_customer(houston, "Ann")
    run(JobCode.UPLOAD)
    run(JobCode.CONVERT, companies=["USRT"])
    name_guid(seattle, ann)
    name_guid(foreign_shop, ann)

    run(JobCode.PIPELINE)

    assert refused_rows() == {
        "seattle": {(table, "guid_conflict") for table in ALL_TABLES},
        "popup": {(table, "company_mismatch") for table in ALL_TABLES},
    }
    assert {row.field for row in Quarantine.objects.all()} == {"async_account"}
    assert unacknowledged(seattle) == 0
    assert unacknowledged(foreign_shop) == 0
    assert Customer.objects.get(account_number="005001").first_name == "Ann"
    assert not CustomerAddress.objects.exists()
    assert not RetailTransaction.objects.exists()
    assert broken_promises() == []


@pytest.mark.finding(id="A5")
def test_a_channel_may_use_a_guid_once_it_was_sent(houston, seattle, foreign_shop, command):
    ann = make_customer(houston, "Ann")
    run(JobCode.UPLOAD)
    run(JobCode.CONVERT, companies=["USRT"])
    name_guid(seattle, ann)
    name_guid(foreign_shop, ann)
    # The pipeline also sends Ann to every channel of her company.
    run(JobCode.PIPELINE)
    cases = [case.id for case in Case.objects.unsettled()]
    command("quarantine", "dismiss", *cases, "--reason", "Not theirs.")
    for shop in (seattle, foreign_shop):
        make_event("address", shop, async_account=ann)
        make_sale(shop, async_account=ann)

    run(JobCode.PIPELINE)

    assert list(refused_rows()) == ["popup"]
    assert CustomerAddress.objects.get().customer.account_number == "005001"
    assert RetailTransaction.objects.get().channel == seattle.channel
    assert broken_promises() == []


@pytest.fixture
def early_rows(houston, seattle, foreign_shop) -> None:
    """Rows of Ann in two channels that were not sent her, uploaded before those of her store."""
    ann = uuid4()
    for shop in (seattle, foreign_shop):
        name_guid(shop, ann, CHILDREN)
        make_order(shop, "SO-1", transaction_id=f"O-{shop.channel.code}", async_account=ann)
    run(JobCode.PIPELINE)
    assert refused_rows() == {}
    make_customer(houston, "Ann", guid=ann)
    make_event("address", houston, async_account=ann, city="Ours")
    run(JobCode.UPLOAD)
    # The other company may be converted first; its rows are refused in the second conversion.
    run(JobCode.CONVERT)
    run(JobCode.CONVERT)


@pytest.mark.finding(id="A5")
def test_naming_a_guid_early_gives_no_right_to_it(early_rows):
    run(JobCode.ORDERS)
    run(JobCode.END_OF_DAY)

    assert refused_rows()["seattle"] >= {(kind.event, "guid_conflict") for kind in CHILDREN}
    assert refused_rows()["popup"] >= {(kind.event, "company_mismatch") for kind in CHILDREN}
    assert CustomerAddress.objects.get().city == "Ours"
    sales = RetailTransaction.objects.order_by("transaction_id")
    assert list(sales.values_list("transaction_id", "customer", "order_reason")) == [
        ("O-popup", None, "company_mismatch"),
        ("O-seattle", None, "guid_conflict"),
        ("T-popup", None, None),
        ("T-seattle", None, None),
    ]
    assert broken_promises() == []


@pytest.mark.finding(id="A5")
def test_rows_that_came_early_are_released_once_their_customer_was_sent(early_rows, command):
    run(JobCode.DOWNLOAD)
    cases = [case.id for case in Case.objects.unsettled() if case.reason == "guid_conflict"]

    command("quarantine", "release", *cases)
    run(JobCode.CONVERT)

    assert CustomerAddress.objects.count() == 2
    assert "seattle" not in refused_rows()
    assert "popup" in refused_rows()


@pytest.mark.finding(id="A5")
def test_a_guid_that_two_channels_created_belongs_to_the_first(store, seattle):
    guid = make_customer(store, "Ann")
    run(JobCode.UPLOAD, channels=[store.channel.code])
    make_customer(seattle, "Eve", guid=guid)
    # Hide Ann from the second upload, as if both channels had been read at the same moment.
    UploadBatch.objects.update(converted_at=timezone.now())
    run(JobCode.UPLOAD, channels=["seattle"])
    damage("UPDATE upload_batch SET converted_at = NULL")

    run(JobCode.CONVERT)

    assert Customer.objects.get(number=5001).first_name == "Ann"
    assert refused_rows() == {"seattle": {("async_customer", "guid_conflict")}}
    assert broken_promises() == []


@pytest.fixture
def ann_and_cy(houston, foreign_shop) -> tuple[Customer, Customer]:
    """Ann of houston, with a row in every table, and Cy of the other company."""
    guid = make_customer(houston, "Ann")
    for kind in CHILDREN:
        make_event(kind.noun, houston, async_account=guid)
    make_sale(houston, async_account=guid)
    make_customer(foreign_shop, "Cy")
    run(JobCode.PIPELINE)
    run(JobCode.VALIDATE)
    assert broken_promises() == []
    customers = Customer.objects.filter(number__isnull=False)
    return customers.get(company="USRT"), customers.get(company="EURT")


@pytest.mark.finding(id="A5")
def test_an_event_of_another_company_s_customer_fails_a_check(ann_and_cy):
    ann, cy = (customer.guids.get().pk for customer in ann_and_cy)
    for table in ALL_TABLES:
        # An event is about the customer of its GUID, a sale about the one that it was given.
        of_cy = f"async_account = '{cy}'"
        if table == "retail_transaction":
            of_cy = f"customer_id = {ann_and_cy[1].pk}"

        failed = checks_failed_by(
            f"UPDATE {table} SET {of_cy} WHERE async_account = '{ann}'"  # noqa: S608
        )

        assert Invariant.COMPANIES_STAY_APART in failed, table


@pytest.mark.finding(id="A5")
def test_an_event_of_a_customer_never_sent_fails_a_check(ann_and_cy, seattle):
    guid = ann_and_cy[0].guids.get().pk
    moves_to_seattle = [
        f"UPDATE {table} SET database_id = {seattle.pk} WHERE async_account = '{guid}'"  # noqa: S608
        for table in ALL_TABLES
    ]
    forget_deliveries = "UPDATE download_session SET applied_at = NULL"

    # Seattle was sent Ann.
    assert Invariant.COMPANIES_STAY_APART not in checks_failed_by("; ".join(moves_to_seattle))

    query(seattle, "DELETE FROM account_map")
    for move_to_seattle in moves_to_seattle:
        assert Invariant.COMPANIES_STAY_APART in checks_failed_by(
            f"{move_to_seattle}; {forget_deliveries}"
        ), move_to_seattle


def edit(shop: ChannelDatabase, guid: UUID) -> None:
    """Write an edit, an address and a sale of a customer whom the channel was sent."""
    make_event("customer", shop, async_account=guid, operation="update", first_name="Anna")
    make_event("address", shop, async_account=guid)
    make_sale(shop, async_account=guid)


def assert_edited() -> None:
    assert Customer.objects.get(account_number="005001").first_name == "Anna"
    assert CustomerAddress.objects.exists()


@pytest.mark.finding(id="V3")
def test_an_edit_of_a_restored_channel_is_accepted(houston, seattle, back_up):
    ann = make_customer(houston, "Ann", phone="111 111")
    run(JobCode.PIPELINE)
    backup = back_up(seattle)
    make_customer(seattle, "Bo")
    run(JobCode.PIPELINE)
    backup.restore()
    edit(seattle, ann)

    run(JobCode.PIPELINE)

    assert_edited()
    assert not Quarantine.objects.exists()


@pytest.mark.finding(id="V3")
def test_an_edit_is_accepted_again_after_hq_was_restored(houston, seattle, back_up_hq, recover_hq):
    backup = back_up_hq()
    ann = make_customer(houston, "Ann", phone="111 111")
    run(JobCode.PIPELINE)
    edit(seattle, ann)
    run(JobCode.PIPELINE)
    backup.restore()

    recover_hq()
    run(JobCode.PIPELINE)

    assert_edited()
    assert not Quarantine.objects.exists()
    assert query(houston, "SELECT first_name FROM customer") == [("Anna",)]


@pytest.mark.finding(id="V3")
def test_an_edit_is_accepted_though_its_delivery_was_not_recorded(houston, seattle):
    ann = make_customer(houston, "Ann")
    run(JobCode.UPLOAD)
    run(JobCode.CONVERT)
    with dying_at(AFTER_CHANNEL_COMMIT):
        run(JobCode.DOWNLOAD, channels=["seattle"])
    edit(seattle, ann)

    run(JobCode.UPLOAD)
    run(JobCode.CONVERT)

    assert_edited()


@pytest.mark.finding(id="V3")
def test_another_run_accepts_an_edit_before_its_delivery_is_recorded(houston, seattle, monkeypatch):
    ann = make_customer(houston, "Ann")
    run(JobCode.UPLOAD)
    run(JobCode.CONVERT)

    def upload_edit() -> None:
        edit(seattle, ann)
        run(JobCode.UPLOAD)

    def upload_edit_once() -> None:
        monkeypatch.delitem(failpoints.actions, AFTER_CHANNEL_COMMIT)
        start_in_thread(upload_edit).result(timeout=60)

    monkeypatch.setitem(failpoints.actions, AFTER_CHANNEL_COMMIT, upload_edit_once)
    run(JobCode.DOWNLOAD, channels=["seattle"])
    assert not Quarantine.objects.exists()

    run(JobCode.CONVERT)

    assert_edited()
