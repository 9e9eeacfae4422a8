"""A backup that was made while HQ visited the channel: HQ notices when it is restored.

From conftest.py: `popup` is a store on SQLite; `store` is a store, once on PostgreSQL and once on
SQLite; `back_up` backs up a channel database.
"""

from collections.abc import Callable
from threading import Thread

import pytest
from django.db import connections

from stores import failpoints
from stores.channeldb.exchange.postgresql import PostgreSQLVisit
from stores.channeldb.exchange.sqlite import SQLiteVisit
from stores.models import AsyncCustomer, ChannelDatabase, Customer, Incident
from stores.models.incident import IncidentKind
from stores.models.job import JobCode
from stores.pipeline.download import packages
from stores.pipeline.upload import upload
from tests.support.make import make_customer, query, run
from tests.support.processes import Died, dying_at
from tests.support.promises import broken_promises

pytestmark = pytest.mark.slow


def incident_kinds(database: ChannelDatabase) -> list[str]:
    incidents = Incident.objects.filter(database=database).order_by("pk")
    return [incident.kind for incident in incidents]


def on_nth_pass(n: int, action: Callable[[], None]) -> Callable[[], None]:
    """An action for a failpoint that only acts when the point is passed for the n-th time."""
    passes = 0

    def count_pass() -> None:
        nonlocal passes
        passes += 1
        if passes == n:
            action()

    return count_pass


def in_other_thread(action: Callable[[], None]) -> Callable[[], None]:
    """The action with database connections of its own, as if in another process."""

    def act_and_disconnect() -> None:
        try:
            action()
        finally:
            connections.close_all()

    def run_thread() -> None:
        thread = Thread(target=act_and_disconnect)
        thread.start()
        thread.join()

    return run_thread


# Only of a SQLite file: PostgreSQL copies no database that HQ is connected to.
@pytest.mark.finding(id="V7")
@pytest.mark.parametrize(
    ("failpoint", "n"),
    [
        ("download:after_delivered", 1),
        ("download:after_delivered", 2),
        ("fence:after_intention", 1),
        ("fence:after_intention", 3),
    ],
)
def test_a_backup_made_during_a_download_is_noticed(popup, back_up, monkeypatch, failpoint, n):
    for name in ("Ann", "Bo", "Cy", "Di", "Eve", "Flo"):
        make_customer(popup, name)
    run(JobCode.UPLOAD)
    run(JobCode.CONVERT)
    backups = []
    make_backup = on_nth_pass(n, lambda: backups.append(back_up(popup)))
    with monkeypatch.context() as patch:
        patch.setattr(packages, "CUSTOMERS_PER_CHUNK", 2)
        patch.setitem(failpoints.actions, failpoint, make_backup)
        assert run(JobCode.DOWNLOAD)["counts"]["distributed"] == 6
    [backup] = backups
    backup.restore()
    [(restored,)] = query(popup, "SELECT count(*) FROM customer WHERE hq_version > 0")
    assert restored < 6

    run(JobCode.PIPELINE)

    assert incident_kinds(popup) == [IncidentKind.CHANNEL_RESTORED]
    assert query(popup, "SELECT count(*) FROM account_map") == [(6,)]
    assert broken_promises() == []


@pytest.mark.finding(id="V7")
def test_each_chunk_of_a_download_commits_the_next_epoch(store, monkeypatch):
    for name in ("Ann", "Bo", "Cy"):
        make_customer(store, name)
    run(JobCode.UPLOAD)
    run(JobCode.CONVERT)
    epochs, customers = [], []

    def read_channel() -> None:
        [(epoch, count)] = query(
            store, "SELECT epoch, (SELECT count(*) FROM customer) FROM exchange_state"
        )
        epochs.append(epoch)
        customers.append(count)

    monkeypatch.setattr(packages, "CUSTOMERS_PER_CHUNK", 1)
    monkeypatch.setitem(failpoints.actions, "fence:after_channel", in_other_thread(read_channel))
    run(JobCode.DOWNLOAD)

    assert customers == [1, 2, 3]
    assert epochs == [epochs[0], epochs[0] + 1, epochs[0] + 2]


@pytest.mark.finding(id="V7")
def test_a_backup_made_during_an_upload_is_noticed(popup, back_up, monkeypatch):
    for name in ("Ann", "Bo"):
        make_customer(popup, name)
    backups = []

    def make_backup_before_cy() -> None:
        backups.append(back_up(popup))
        make_customer(popup, "Cy")

    make_backup = on_nth_pass(1, in_other_thread(make_backup_before_cy))
    with monkeypatch.context() as patch:
        patch.setattr(upload, "EVENTS_PER_CHUNK", 1)
        patch.setitem(failpoints.actions, "upload:after_acknowledge", make_backup)
        run(JobCode.UPLOAD)
    [backup] = backups
    backup.restore()
    make_customer(popup, "Di")

    run(JobCode.PIPELINE)

    assert incident_kinds(popup) == [IncidentKind.CHANNEL_RESTORED]
    generations = dict(AsyncCustomer.objects.values_list("first_name", "generation"))
    assert generations == {"Ann": 1, "Bo": 1, "Cy": 1, "Di": 2}
    # The restored channel gave Di the counter that Cy had, so only the generation differs.
    cy, di = AsyncCustomer.objects.filter(first_name__in=["Cy", "Di"]).order_by("first_name")
    assert cy.replication_counter == di.replication_counter


@pytest.mark.finding(id="V7b")
def test_a_restore_is_noticed_though_the_upload_before_it_died(store, back_up):
    ann = make_customer(store, "Ann")
    run(JobCode.PIPELINE)
    backup = back_up(store)
    for name in ("Ann 2", "Ann 3"):
        make_customer(store, name, guid=ann, operation="update")
    # HQ stages the updates, and dies before it writes to the channel.
    with dying_at("upload:after_hq_commit"):
        run(JobCode.UPLOAD)
    backup.restore()
    make_customer(store, "Ann after the restore", guid=ann, operation="update")

    run(JobCode.PIPELINE)

    assert incident_kinds(store) == [IncidentKind.CHANNEL_RESTORED]
    assert Customer.objects.get(account_number="005001").first_name == "Ann after the restore"
    assert query(store, "SELECT first_name FROM customer WHERE account_number = '005001'") == [
        ("Ann after the restore",)
    ]
    assert broken_promises() == []


@pytest.mark.finding(id="V7b")
@pytest.mark.parametrize(
    ("channel", "visit"), [("houston", PostgreSQLVisit), ("popup", SQLiteVisit)]
)
def test_events_are_not_staged_before_the_channel_is_fenced(request, monkeypatch, channel, visit):
    make_customer(request.getfixturevalue(channel))

    def refuse_fence(*args: object) -> None:
        raise Died

    monkeypatch.setattr(visit, "fence", refuse_fence)
    with pytest.raises(Died):
        run(JobCode.UPLOAD)

    assert not AsyncCustomer.objects.exists()


@pytest.mark.finding(id="V7b")
def test_a_restore_is_noticed_by_the_event_counter_alone(store, back_up):
    backup = back_up(store)
    make_customer(store, "Ann")
    run(JobCode.PIPELINE)
    [(epoch, nonce)] = query(store, "SELECT epoch, nonce FROM exchange_state")
    backup.restore()
    # Someone copied the exchange state of the latest visit into the restored channel.
    query(
        store,
        """UPDATE exchange_state SET epoch = %s, nonce = %s, account_high = '{"USRT": 5001}'""",
        epoch,
        str(nonce),
    )

    run(JobCode.PIPELINE)

    assert incident_kinds(store) == [IncidentKind.CHANNEL_RESTORED]
    assert ChannelDatabase.objects.get(pk=store.pk).generation == 2
    assert query(store, "SELECT count(*) FROM account_map") == [(1,)]
    assert run(JobCode.PIPELINE)["outcome"] == "nothing_to_do"


@pytest.mark.finding(id="V7b")
def test_deleted_events_are_no_restore(store):
    make_customer(store, "Ann")
    run(JobCode.PIPELINE)
    query(store, "DELETE FROM async_customer")

    assert run(JobCode.PIPELINE)["outcome"] == "nothing_to_do"

    assert incident_kinds(store) == []
    assert ChannelDatabase.objects.get(pk=store.pk).staged == {"async_customer": 1}
