"""The fence: HQ recognises the database that it left, and only its latest visit may write."""

from contextlib import ExitStack
from uuid import uuid4

import pytest
from django.utils import timezone

from stores import failpoints
from stores.channeldb.errors import ChannelBlocked
from stores.models import (
    AsyncCustomer,
    ChannelDatabase,
    Delivery,
    Incident,
    JobRun,
    NumberSequence,
    Quarantine,
    RetailTransaction,
    RunStep,
)
from stores.models.incident import IncidentKind
from stores.models.run import RunLost, RunStatus
from stores.pipeline.fence.visit import FencedChannel, enter
from stores.pipeline.register import RegistrationRefused, register_channel
from stores.pipeline.upload.upload import UPLOAD_SOURCES
from tests.support.after_a_fault import waiting
from tests.support.make import make_customer, make_sale, query, run
from tests.support.processes import Died, die
from tests.support.promises import broken_promises

pytestmark = pytest.mark.slow

FENCE_FAILPOINTS = [name for name in failpoints.FAILPOINTS if name.startswith("fence:")]


def token_in_channel(database):
    """Epoch and nonce of the latest visit, as the channel holds them."""
    [(epoch, nonce)] = query(database, "SELECT epoch, nonce FROM exchange_state")
    return epoch, str(nonce)


def token_at_hq(database):
    """Epoch and nonce of the latest visit, as HQ has confirmed them."""
    database = ChannelDatabase.objects.get(pk=database.pk)
    return database.confirmed_epoch, str(database.confirmed_nonce)


def open_incidents(database=None):
    incidents = Incident.objects.open().filter(database=database).order_by("pk")
    return [incident.kind for incident in incidents]


def make_step(database, name="upload"):
    """A running step of a run that a worker has claimed."""
    run = JobRun.objects.create(job=name, scope=str(uuid4()))
    run = JobRun.objects.claim(run.pk)
    return RunStep.objects.create(
        run=run,
        position=1,
        step=name,
        database=database,
        status=RunStatus.RUNNING,
        fencing_no=run.fencing_no,
    )


def read_oldest_events(channel):
    """One event of each table that has any, as an upload would read it."""
    batches = channel.read_events(UPLOAD_SOURCES, limit=1, beyond={})
    return [batch for batch in batches if batch.total]


def count_applied_sessions(database):
    [(count,)] = query(database, "SELECT count(*) FROM applied_session")
    return count


def lose_running_runs():
    """Record every running run as lost, as is done when its worker has died."""
    JobRun.objects.filter(status=RunStatus.RUNNING).update(
        status=RunStatus.LOST, ended_at="2026-01-01T00:00Z"
    )


def test_a_visit_that_finds_nothing_to_do_writes_nothing(store):
    before = token_in_channel(store), token_at_hq(store)

    run("P-0001")

    assert (token_in_channel(store), token_at_hq(store)) == before


def test_a_dry_run_writes_nothing(store):
    make_customer(store)
    before = token_in_channel(store), token_at_hq(store)

    assert run("P-0001", dry_run=True)["counts"]["staged"] == 1

    assert (token_in_channel(store), token_at_hq(store)) == before


def test_the_first_write_of_a_visit_renews_the_token_once(store):
    make_customer(store)
    epoch, nonce = token_in_channel(store)

    run("P-0001")

    new_epoch, new_nonce = token_in_channel(store)
    assert (new_epoch, new_nonce) == token_at_hq(store)
    assert new_epoch == epoch + 1
    assert new_nonce != nonce


@pytest.mark.parametrize("failpoint", FENCE_FAILPOINTS)
def test_a_visit_that_died_while_it_took_the_fence_is_continued_by_the_next_one(
    store, monkeypatch, failpoint
):
    make_customer(store)
    epoch, _ = token_in_channel(store)
    with monkeypatch.context() as patch:
        patch.setitem(failpoints.actions, failpoint, die)
        with pytest.raises(Died):
            run("P-0001")
    has_intention = ChannelDatabase.objects.get(pk=store.pk).intended_nonce is not None
    is_unused = has_intention and token_in_channel(store)[0] == epoch
    lose_running_runs()

    pipeline = run("pipeline")

    assert pipeline["outcome"] == "succeeded"
    assert open_incidents(store) == []
    assert token_in_channel(store) == token_at_hq(store)
    # An intention that the channel has not seen yet is used instead of a new one.
    assert token_in_channel(store)[0] == epoch + (2 if is_unused else 3)


def test_an_upload_and_a_download_of_one_database_do_not_break_each_other(store):
    make_customer(store, "Ann")
    make_customer(store, "Bo")
    with ExitStack() as visits:
        upload, download = make_step(store), make_step(store, "download")
        up = visits.enter_context(enter(upload))
        up.acknowledge(read_oldest_events(up))
        # The channel is open in this thread already, so the other visit shares the connection.
        down = FencedChannel(up.channel, store, download.chunk)
        down.apply([], session=uuid4(), part=1, job="1010")
        up.acknowledge(read_oldest_events(up))
        down.apply([], session=uuid4(), part=2, job="1010")

    assert waiting(store) == 0
    assert count_applied_sessions(store) == 2
    assert token_in_channel(store) == token_at_hq(store)
    assert open_incidents(store) == []


@pytest.mark.fault("F-05")
def test_a_worker_that_was_paused_and_replaced_writes_nothing_when_it_goes_on(store):
    make_customer(store, "Ann")
    make_customer(store, "Bo")
    step = make_step(store)
    with enter(step) as paused:
        paused.acknowledge(read_oldest_events(paused))
        events = read_oldest_events(paused)
        lose_running_runs()
        # The channel is open in this thread already, so the later visit shares the connection.
        later = FencedChannel(paused.channel, store, make_step(store).chunk)
        later.apply([], session=uuid4(), part=1, job="1010")

        with pytest.raises(RunLost):
            paused.acknowledge(events)

    assert waiting(store) == 1


@pytest.mark.fault("F-31")
def test_a_restored_channel_is_an_incident_and_is_sent_everything_again(store, seattle, back_up):
    make_customer(store, "Ann")
    run("pipeline")
    backup = back_up(store)
    make_customer(store, "Bo")
    make_customer(seattle, "Cy")
    run("pipeline")
    bo = AsyncCustomer.objects.get(first_name="Bo")
    backup.restore()
    # The channel has lost Bo, so Di gets the same counter.
    make_customer(store, "Di")

    first = run("pipeline")
    second = run("pipeline")

    assert first["outcome"] == "succeeded"
    assert second["outcome"] == "nothing_to_do"
    di = AsyncCustomer.objects.get(first_name="Di")
    assert (di.replication_counter, di.generation) == (bo.replication_counter, 2)
    incident = Incident.objects.open().get(database=store)
    assert incident.kind == IncidentKind.CHANNEL_RESTORED
    assert incident.detail["forgotten"] == {
        "async_customer": {"count": 1, "first": [str(bo.event_id)]}
    }
    for channel in (store, seattle):
        assert query(channel, "SELECT count(*) FROM account_map") == [(4,)]
    assert token_in_channel(store) == token_at_hq(store)


@pytest.mark.fault("F-31")
def test_known_events_that_a_restored_channel_sends_again_change_nothing(store, back_up):
    make_customer(store, "Ann")
    backup = back_up(store)
    run("pipeline")
    make_customer(store, "Bo")
    run("P-0001")
    backup.restore()

    upload = run("P-0001")

    assert upload["counts"] == {"read": 1, "unchanged": 1}
    assert AsyncCustomer.objects.get(first_name="Ann").generation == 1


def test_a_channel_that_is_restored_twice_within_a_day_counts_as_copied(store, back_up):
    make_customer(store, "Ann")
    run("pipeline")
    backup = back_up(store)
    for name in ("Bo", "Cy"):
        make_customer(store, name)
        run("pipeline")
        backup.restore()
        upload = run("P-0001")

    assert upload["outcome"] == "failed"
    assert open_incidents(store) == [IncidentKind.CHANNEL_RESTORED, IncidentKind.CHANNEL_FORKED]


@pytest.mark.fault("F-32")
def test_a_channel_with_an_unknown_nonce_is_blocked_and_others_go_on(store, seattle):
    query(store, f"UPDATE exchange_state SET nonce = '{uuid4()}'")  # noqa: S608
    make_customer(store)
    make_customer(seattle)

    first = run("P-0001")
    second = run("P-0001")

    assert first["outcome"] == "partly"
    assert first["counts"]["staged"] == 1
    assert "two copies" in first["message"]
    assert waiting(store) == 1
    incident = Incident.objects.open().get(database=store)
    assert incident.kind == IncidentKind.CHANNEL_FORKED
    assert f"is blocked until incident {incident.pk} is closed." in second["message"]


@pytest.mark.fault("F-32")
def test_the_database_of_another_channel_is_not_visited(houston, seattle, back_up):
    backup = back_up(seattle)
    backup.database = houston
    make_customer(seattle)
    backup.restore()

    found = run("P-0001")

    assert [step["outcome"] for step in found["steps"]] == ["failed", "succeeded"]
    assert open_incidents(houston) == [IncidentKind.WRONG_DATABASE]


def register_copy(backup):
    """Register the backup of a channel as the new store Austin."""
    url = f"sqlite:///channels/{backup.file.name}" if backup.file else f"embedded:{backup.name}"
    values = {"code": "austin", "name": "Austin", "kind": "store", "company": "USRT"}
    with pytest.raises(RegistrationRefused, match="is a copy of another channel's"):
        register_channel(**values, database=url)
    return register_channel(**values, database=url, renew_identity=True)


@pytest.mark.fault("F-32")
def test_events_that_a_copy_shares_with_its_original_are_staged_once(store, back_up):
    make_customer(store, "Ann")
    austin = register_copy(back_up(store))

    first = run("P-0001", channels=[store.channel.code])
    second = run("P-0001", channels=["austin"])
    run("pipeline")

    assert first["counts"] == {"read": 1, "staged": 1}
    assert second["counts"] == {"read": 1, "unchanged": 1}
    assert waiting(austin) == 0
    assert count_applied_sessions(austin) == 1
    assert count_applied_sessions(store) == 1
    assert open_incidents() == []


@pytest.mark.fault("F-32")
def test_a_row_of_a_copy_that_is_quarantined_for_its_original_is_no_difference(store, back_up):
    make_customer(store, "Ann", email="nobody")
    run("P-0001")
    register_copy(back_up(store))

    comparison = run("reconcile")

    assert comparison["outcome"] == "succeeded"
    assert Quarantine.objects.count() == 1
    assert broken_promises() == []


@pytest.mark.fault("F-32")
def test_sales_that_a_copy_shares_with_its_original_are_posted_once(store, back_up, command):
    ann = make_customer(store, "Ann")
    make_sale(store, "10.00", transaction_id="T-1", async_account=ann)
    make_sale(
        store,
        transaction_id="T-2",
        transaction_type="customer_order",
        confirmation_number="SO-1",
        async_account=ann,
    )
    austin = register_copy(back_up(store))
    # The copied till uses the next number and the store number of the original.
    original = store.channel.code
    make_sale(store, "20.00", transaction_id="T-3", store_number=original)
    make_sale(austin, "30.00", transaction_id="T-3", store_number=original)
    # One sale was written in both.
    moment = timezone.now()
    for shop in (store, austin):
        make_sale(shop, "5.00", transaction_id="T-4", occurred_at=moment, store_number=None)
    # Two stores may use the same number for different sales.
    make_sale(store, "40.00", transaction_id="T-5")
    make_sale(austin, "50.00", transaction_id="T-5")

    assert run("eod", channels=[original])["outcome"] == "succeeded"
    assert run("eod", channels=["austin"])["outcome"] == "succeeded"
    run("sync-orders")

    assert posted_sales(store) == [("T-1", 10), ("T-2", 10), ("T-3", 20), ("T-4", 5), ("T-5", 40)]
    assert posted_sales(austin) == [("T-5", 50)]
    cases = Quarantine.objects.values_list("database__channel__code", "reason", "field")
    assert list(cases) == [("austin", "document_elsewhere", "transaction_id")] * 2
    assert waiting(austin, "retail_transaction") == 0
    assert broken_promises() == []

    # A person has found out that both sales T-3 were made.
    [(event_id,)] = query(
        austin,
        "SELECT event_id FROM retail_transaction WHERE transaction_id = 'T-3'",
    )
    command("quarantine", "release", str(Quarantine.objects.get(event_id=event_id).pk))
    run("eod")
    assert posted_sales(austin) == [("T-3", 30), ("T-5", 50)]


def posted_sales(database):
    """Transaction id and net amount of the sales that are posted for the channel."""
    posted = RetailTransaction.objects.filter(channel=database.channel, sales_order__isnull=False)
    return list(posted.order_by("transaction_id").values_list("transaction_id", "net_amount"))


def test_a_database_without_an_identity_is_not_visited(popup):
    query(popup, "UPDATE exchange_state SET account_high = 'nonsense'")

    assert "has no identity" in run("P-0001")["message"]
    assert open_incidents(popup) == [IncidentKind.WRONG_DATABASE]


@pytest.mark.fault("F-34")
def test_a_channel_with_a_later_epoch_means_that_hq_is_behind(store):
    query(store, "UPDATE exchange_state SET epoch = epoch + 1")
    make_customer(store)

    assert run("P-0001")["outcome"] == "failed"

    assert open_incidents(store) == [IncidentKind.HQ_BEHIND]
    assert waiting(store) == 1


def test_a_channel_with_a_number_still_to_be_issued_means_that_hq_is_behind(store):
    query(store, """UPDATE exchange_state SET account_high = '{"USRT": 5001}'""")

    assert run("P-0001")["outcome"] == "failed"
    assert open_incidents(store) == [IncidentKind.HQ_BEHIND]


def test_a_channel_is_told_the_highest_number(store, seattle):
    make_customer(seattle)
    make_customer(seattle)

    run("pipeline")

    assert NumberSequence.objects.get().next == 5003
    [(account_high,)] = query(store, "SELECT account_high FROM exchange_state")
    assert "5002" in str(account_high)


def test_at_first_contact_a_database_is_accepted_only_if_it_was_never_visited(store):
    ChannelDatabase.objects.filter(pk=store.pk).update(
        confirmed_nonce=None, database_id=uuid4(), confirmed_epoch=0
    )
    assert run("P-0001")["outcome"] == "nothing_to_do"

    ChannelDatabase.objects.filter(pk=store.pk).update(confirmed_nonce=None)
    query(store, "UPDATE exchange_state SET epoch = 3")
    assert run("P-0001")["outcome"] == "failed"
    assert open_incidents(store) == [IncidentKind.HQ_BEHIND]


def test_a_blocked_channel_is_not_opened(store):
    Incident.objects.report(IncidentKind.WRONG_DATABASE, "It was exchanged.", database=store)

    with pytest.raises(ChannelBlocked, match="is blocked until incident"), enter(make_step(store)):
        pytest.fail("it was opened")


def test_customers_that_a_restored_channel_had_are_pending_again(store, back_up):
    make_customer(store)
    backup = back_up(store)
    run("pipeline")
    backup.restore()

    with enter(make_step(store)):
        pending = Delivery.objects.pending().filter(database=store).count()

    assert pending == 1
