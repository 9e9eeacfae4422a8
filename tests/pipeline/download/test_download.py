"""1010: every database of the company is given every account, and nothing newer is overwritten.

From conftest.py: `seattle` is a store on PostgreSQL; `store` is a store, once on PostgreSQL and
once on SQLite; `register` registers a channel by its code.
"""

import signal
from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest
from django.db import transaction
from django.db.models import F

from stores.channeldb.connect.url import sqlite_path
from stores.channeldb.exchange.open import visit
from stores.channeldb.exchange.postgresql import PostgreSQLVisit
from stores.channeldb.exchange.protocol import PositionMove, PositionMoved
from stores.channeldb.exchange.sqlite import SQLiteVisit
from stores.jobs.catalog import JOBS
from stores.jobs.start import create_run
from stores.models import (
    ChannelDatabase,
    Customer,
    CustomerAffiliation,
    DownloadSession,
    GuidMap,
    Incident,
    JobRun,
)
from stores.models.incident import IncidentKind
from stores.models.job import JobCode
from stores.models.run import Visits
from stores.models.session import DownloadStatus
from stores.pipeline.changes import reserve_changes
from stores.pipeline.convert.accounts import import_account
from stores.pipeline.download import download, packages
from stores.pipeline.download.outbound import OUTBOUND_TABLES
from stores.pipeline.download.packages import load_tables, package_for
from stores.pipeline.register import add_register
from tests.support.make import (
    carry_out,
    engine_of,
    lookup,
    make_customer,
    make_event,
    pending,
    query,
    run,
)

ENGINES = {"postgresql": PostgreSQLVisit, "sqlite": SQLiteVisit}
NOW = "2026-03-01T10:00:00+00:00"
HQ_TABLES = (
    "customer",
    "customer_address",
    "customer_contact",
    "customer_affiliation",
    "customer_attribute",
    "account_map",
)


@pytest.fixture
def ann(store) -> UUID:
    """Ann's GUID; she has an account and one of everything, and no channel knows it yet."""
    guid = make_customer(store, "Ann")
    for kind in ("address", "contact", "affiliation", "attribute"):
        make_event(kind, store, async_account=guid)
    run(JobCode.UPLOAD)
    run("sync-customers")
    return guid


@pytest.fixture
def till(store) -> Iterator[ChannelDatabase]:
    """An offline register of the store, in a file of its own."""
    made = add_register(
        code=store.channel.code, register="till-1", database="sqlite:///channels/till_1.sqlite3"
    )
    yield made
    sqlite_path(made).unlink()


def contents(database: ChannelDatabase) -> dict[str, list[tuple]]:
    """All that HQ has written into a channel."""
    return {
        table: query(database, f"SELECT * FROM {table} ORDER BY 1, 2, 3")  # noqa: S608
        for table in HQ_TABLES
    }


def account_map(database: ChannelDatabase) -> dict[str, str]:
    found = query(database, "SELECT async_account, account_number FROM account_map")
    return {str(guid): account for guid, account in found}


def touch(customer: Customer) -> None:
    """Raise a customer's version in HQ by a change."""
    with transaction.atomic():
        Customer.objects.filter(pk=customer.pk).update(
            hq_version=F("hq_version") + 1, change_no=reserve_changes(customer.company_id, 1)
        )


def test_a_channel_is_given_all_that_belongs_to_a_customer(store, seattle, ann):
    run(JobCode.DOWNLOAD)

    for channel in (store, seattle):
        found = contents(channel)
        assert {table: len(rows) for table, rows in found.items()} == dict.fromkeys(HQ_TABLES, 1)
        assert account_map(channel) == {str(ann): "005001"}


@pytest.mark.slow
def test_a_delivery_that_was_not_recorded_is_not_repeated(store, seattle, ann):
    run(JobCode.DOWNLOAD)
    before = contents(store), contents(seattle)
    # As after a crash between the channel's commit and HQ's.
    ChannelDatabase.objects.update(position=0)
    DownloadSession.objects.update(status=DownloadStatus.DOWNLOADED, applied_at=None)

    result = run(JobCode.DOWNLOAD)

    assert result["counts"] == {"distributed": 2}
    assert (contents(store), contents(seattle)) == before
    assert pending(store) == pending(seattle) == []
    assert set(DownloadSession.objects.values_list("status", flat=True)) == {DownloadStatus.APPLIED}


def test_a_part_that_a_channel_knows_is_skipped(store, ann):
    package = package_for("USRT", 0, None)
    session = uuid4()

    with visit(store) as channel:
        tables = load_tables(package)
        nonce = channel.state().token.nonce
        written = [
            channel.apply(tables, session=session, part=1, job="1010", nonce=nonce)
            for _ in range(2)
        ]

    assert len(tables) == len(OUTBOUND_TABLES)
    assert written == [len(HQ_TABLES), 0]


def test_a_channel_takes_rows_only_where_hq_saw_it_stand(store, ann):
    package = package_for("USRT", 0, None)

    with visit(store) as channel:
        nonce = channel.state().token.nonce
        with pytest.raises(PositionMoved):
            channel.apply(
                load_tables(package),
                session=uuid4(),
                part=1,
                job="1010",
                nonce=nonce,
                move=PositionMove("USRT", seen=7, to=9),
            )
        assert channel.state().positions == {}

    assert contents(store) == {table: [] for table in HQ_TABLES}


@pytest.mark.fault("F-49")  # events arrive in another order
def test_an_older_version_never_overwrites_a_newer_one(store, ann):
    query(
        store,
        "INSERT INTO customer (company, account_number, first_name, hq_version)"
        " VALUES ('USRT', '005001', 'Newer', 9)",
    )

    run(JobCode.DOWNLOAD)

    assert query(store, "SELECT first_name, hq_version FROM customer") == [("Newer", 9)]


def test_a_guid_s_account_in_a_channel_is_not_overwritten(store, ann):
    query(store, f"INSERT INTO account_map VALUES ('{ann}', 'USRT', '004711', '{NOW}')")  # noqa: S608

    result = run(JobCode.DOWNLOAD, channels=[store.channel.code])

    assert result["outcome"] == "failed"
    assert account_map(store) == {str(ann): "004711"}
    assert query(store, "SELECT 1 FROM customer") == []
    told = Incident.objects.open().get(kind=IncidentKind.FORGOTTEN_ACCOUNT, database=store)
    assert told.detail["first"] == [
        {"key": str(ann), "channel": "USRT:004711", "headquarters": "USRT:005001"}
    ]


def test_an_account_under_another_guid_is_not_overwritten(store, ann):
    query(
        store,
        "INSERT INTO customer (company, account_number, async_account, hq_version)"
        " VALUES ('USRT', '005001', %s, 0)",
        str(uuid4()),
    )

    result = run(JobCode.DOWNLOAD, channels=[store.channel.code])

    assert "holds another account" in result["message"]
    assert query(store, "SELECT 1 FROM account_map") == []
    assert run(JobCode.DOWNLOAD, channels=[store.channel.code])["message"].endswith("is closed.")


@pytest.mark.slow
def test_a_change_replaces_what_the_channel_has(store, seattle, ann):
    run(JobCode.DOWNLOAD)
    make_event("customer", store, async_account=ann, operation="update", first_name="Anna")
    make_event("attribute", store, async_account=ann, value="XL")
    make_event("affiliation", store, async_account=ann, operation="deactivate")

    result = run("pipeline")

    assert result["counts"]["distributed"] == 2
    for channel in (store, seattle):
        assert lookup(channel) == [("005001", "Anna")]
        assert query(channel, "SELECT value FROM customer_attribute") == [("XL",)]
        [(is_active,)] = query(channel, "SELECT is_active FROM customer_affiliation")
        assert not is_active


@pytest.mark.slow
def test_two_guids_of_an_account_are_one_person_everywhere(store, seattle, ann):
    second = make_customer(seattle, "Ann")
    customer = Customer.objects.get(account_number="005001")
    GuidMap.objects.create(
        async_account=second,
        company=store.channel.company,
        customer=customer,
        origin="linked",
        channel=seattle.channel,
    )
    touch(customer)

    run(JobCode.DOWNLOAD)

    for channel in (store, seattle):
        assert lookup(channel) == [("005001", "Ann")]
        assert account_map(channel) == {str(ann): "005001", str(second): "005001"}
    [(shown,)] = query(seattle, "SELECT async_account FROM customer_lookup")
    assert str(shown) == str(second)


def test_an_offline_register_is_given_everything_from_the_start(store, ann, till):
    run(JobCode.DOWNLOAD)

    assert till.label == f"{store.channel.code}/till-1"
    assert lookup(till) == lookup(store) == [("005001", "Ann")]


def test_what_an_offline_register_made_comes_home_and_goes_everywhere(store, seattle, till):
    make_customer(till, "Offline", created_offline=True)

    run("pipeline")

    for channel in (store, till, seattle):
        assert lookup(channel) == [("005001", "Offline")]


def test_imported_accounts_are_given_and_default_customers_are_not(store):
    import_account(store.channel.company, "004009", first_name="Bo", last_name="Berg")

    run(JobCode.DOWNLOAD)

    assert lookup(store) == [("004009", "Bo")]


def test_a_database_that_is_owed_nothing_is_not_opened(store):
    ChannelDatabase.objects.update(url="sqlite:///channels/not_there.sqlite3")

    result = run(JobCode.DOWNLOAD)

    assert result["outcome"] == "nothing_to_do"
    assert not DownloadSession.objects.exists()


def test_a_disabled_channel_is_not_visited_and_others_are(store, seattle, ann):
    ChannelDatabase.objects.filter(pk=seattle.pk).update(is_enabled=False)

    run(JobCode.DOWNLOAD)

    assert lookup(store) == [("005001", "Ann")]
    assert lookup(seattle) == []


@pytest.mark.slow
def test_what_is_given_to_one_company_stays_there(store, register, ann):
    web = register("web", company="EURT", account_format="E-####", first_number=1)
    CustomerAffiliation.objects.filter(affiliation="STAFF").update(affiliation="VIP")

    run("pipeline")

    assert lookup(web) == []
    assert pending(web) == []


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("is_written", [False, True])
def test_ctrl_c_while_writing_a_channel_leaves_nothing_half_done(
    ann, store, monkeypatch, is_written
):
    engine = ENGINES[engine_of(store)]
    apply = engine.apply

    def interrupted(*args, **options) -> None:
        if is_written:
            apply(*args, **options)
        signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(engine, "apply", interrupted)
        assert run(JobCode.DOWNLOAD)["outcome"] == "cancelled"
    assert [len(rows) for rows in contents(store).values()] == [is_written] * len(HQ_TABLES)

    run(JobCode.DOWNLOAD)

    account = GuidMap.objects.get(async_account=ann).customer.account_number
    assert [shown for shown, _ in lookup(store)] == [account]
    assert pending(store) == []


def test_a_scheduled_download_over_its_time_leaves_the_rest(store, settings, monkeypatch):
    settings.VISIT_SHARE_S = 0
    monkeypatch.setattr(packages, "CUSTOMERS_PER_CHUNK", 2)
    for number in range(3):
        import_account(store.channel.company, f"00400{number}", first_name="Bo", last_name="Berg")

    for shown in (2, 3):
        carry_out(create_run(JOBS[JobCode.DOWNLOAD], visits=Visits.QUICK).run)
        assert len(lookup(store)) == shown


def test_ctrl_c_inside_a_driver_ends_the_run_too(ann, monkeypatch):
    def wrapped(*_: object) -> None:
        raise SystemError("returned a result with an exception set") from KeyboardInterrupt()

    monkeypatch.setattr(download, "with_pending", wrapped)

    assert run(JobCode.DOWNLOAD)["outcome"] == "cancelled"
    assert JobRun.objects.newest_first()[0].error == ""
