"""The fence: HQ knows the database it left, and only the latest visit writes."""

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
from stores.pipeline.integrity.verify import verify
from stores.pipeline.register import RegistrationRefused, register_channel
from stores.pipeline.upload.upload import UPLOAD_SOURCES
from tests.support.after_a_fault import waiting
from tests.support.make import make_customer, make_sale, query, run
from tests.support.processes import Died, die

pytestmark = pytest.mark.slow

FENCE = [name for name in failpoints.FAILPOINTS if name.startswith("fence:")]


def its_pair(database):
    [(epoch, nonce)] = query(database, "SELECT epoch, nonce FROM exchange_state")
    return epoch, str(nonce)


def confirmed(database):
    found = ChannelDatabase.objects.get(pk=database.pk)
    return found.confirmed_epoch, str(found.confirmed_nonce)


def open_kinds(database=None):
    return [one.kind for one in Incident.objects.open().filter(database=database).order_by("pk")]


def make_step(database, word="upload"):
    run = JobRun.objects.create(job=word, scope=str(uuid4()))
    run = JobRun.objects.claim(run.pk)
    return RunStep.objects.create(
        run=run,
        position=1,
        step=word,
        database=database,
        status=RunStatus.RUNNING,
        fencing_no=run.fencing_no,
    )


def read_one(channel):
    """The oldest events of each table, as an upload would read them."""
    read = channel.read_events(UPLOAD_SOURCES, limit=1, beyond={})
    return [events for events in read if events.total]


def parts_applied(database):
    [(count,)] = query(database, "SELECT count(*) FROM applied_session")
    return count


# ---------------------------------------------------------------------- the three steps


def test_a_visit_that_finds_nothing_leaves_the_channel_as_it_is(store):
    before = its_pair(store), confirmed(store)

    run("P-0001")

    assert (its_pair(store), confirmed(store)) == before


def test_the_first_write_of_a_visit_takes_the_fence_once(store):
    make_customer(store)
    epoch, nonce = its_pair(store)

    run("P-0001")

    assert its_pair(store) == confirmed(store)
    assert its_pair(store)[0] == epoch + 1
    assert its_pair(store)[1] != nonce


@pytest.mark.parametrize("point", FENCE)
def test_a_visit_that_dies_between_two_steps_is_followed_by_one_that_goes_on(
    store, monkeypatch, point
):
    make_customer(store)
    epoch, _ = its_pair(store)

    monkeypatch.setitem(failpoints.actions, point, die)
    with pytest.raises(Died):
        run("P-0001")
    monkeypatch.delitem(failpoints.actions, point)
    its_own = ChannelDatabase.objects.get(pk=store.pk)
    is_unused = its_own.intended_nonce is not None and its_pair(store)[0] == epoch
    JobRun.objects.filter(status=RunStatus.RUNNING).update(
        status=RunStatus.LOST, ended_at="2026-01-01T00:00Z"
    )
    found = run("pipeline")

    assert found["outcome"] == "succeeded"
    assert open_kinds(store) == []
    assert its_pair(store) == confirmed(store)
    # An intention that the channel has not seen is used, not replaced by another one.
    assert its_pair(store)[0] == epoch + (2 if is_unused else 3)


def test_a_dry_run_takes_no_fence(store):
    make_customer(store)
    before = its_pair(store), confirmed(store)

    assert run("P-0001", dry_run=True)["counts"]["staged"] == 1

    assert (its_pair(store), confirmed(store)) == before


# ------------------------------------------------------------------- two visits at once


def test_an_upload_and_a_download_of_one_database_do_not_break_each_other(store):
    make_customer(store, "Ann")
    make_customer(store, "Bo")
    with ExitStack() as visits:
        upload, download = make_step(store), make_step(store, "download")
        up = visits.enter_context(enter(upload))
        up.acknowledge(read_one(up))
        # The channel is already open in this thread, so the other visit shares the connection.
        down = FencedChannel(up.channel, store, download.chunk)
        down.apply([], session=uuid4(), part=1, job="1010")
        up.acknowledge(read_one(up))
        down.apply([], session=uuid4(), part=2, job="1010")

    assert waiting(store) == 0
    assert parts_applied(store) == 2
    assert its_pair(store) == confirmed(store)
    assert open_kinds(store) == []


@pytest.mark.fault("F-05")
def test_a_worker_that_was_stopped_and_replaced_writes_nothing_when_it_wakes(store):
    make_customer(store, "Ann")
    make_customer(store, "Bo")
    step = make_step(store)
    with enter(step) as stopped:
        stopped.acknowledge(read_one(stopped))
        read = read_one(stopped)
        JobRun.objects.filter(pk=step.run_id).update(
            status=RunStatus.LOST, ended_at="2026-01-01T00:00Z"
        )
        # The channel is already open in this thread, so the later visit shares the connection.
        later = FencedChannel(stopped.channel, store, make_step(store).chunk)
        later.apply([], session=uuid4(), part=1, job="1010")

        with pytest.raises(RunLost):
            stopped.acknowledge(read)

    assert waiting(store) == 1


# --------------------------------------------------------------------- what can be wrong


@pytest.mark.fault("F-31")
def test_a_channel_set_back_in_time_is_taken_as_it_is_and_given_everything_again(
    store, seattle, backed_up
):
    make_customer(store, "Ann")
    run("pipeline")
    backup = backed_up(store)
    forgotten = make_customer(store, "Bo")
    make_customer(seattle, "Cy")
    run("pipeline")
    [lost] = AsyncCustomer.objects.filter(async_account=forgotten)
    used = lost.replication_counter
    backup.restore()
    # The till uses the counter of the forgotten customer again.
    make_customer(store, "Di")

    found = run("pipeline")
    again = run("pipeline")

    assert found["outcome"] == "succeeded"
    assert again["outcome"] == "nothing_to_do"
    reused = AsyncCustomer.objects.get(first_name="Di")
    assert (reused.replication_counter, reused.generation) == (used, 2)
    told = Incident.objects.open().get(database=store)
    assert told.kind == IncidentKind.CHANNEL_RESTORED
    assert told.detail["forgotten"] == {
        "async_customer": {"count": 1, "first": [str(lost.event_id)]}
    }
    accounts = query(store, "SELECT count(*) FROM account_map")
    assert accounts == query(seattle, "SELECT count(*) FROM account_map") == [(4,)]
    assert its_pair(store) == confirmed(store)


@pytest.mark.fault("F-31")
def test_known_events_that_a_restored_channel_sends_again_change_nothing(store, backed_up):
    make_customer(store, "Ann")
    backup = backed_up(store)
    run("pipeline")
    make_customer(store, "Bo")
    run("P-0001")
    backup.restore()

    found = run("P-0001")

    assert found["counts"] == {"read": 1, "unchanged": 1}
    assert AsyncCustomer.objects.get(first_name="Ann").generation == 1


def test_a_channel_set_back_twice_within_a_day_counts_as_copied(store, backed_up):
    make_customer(store, "Ann")
    run("pipeline")
    backup = backed_up(store)
    for name in ("Bo", "Cy"):
        make_customer(store, name)
        run("pipeline")
        backup.restore()
        found = run("P-0001")

    assert found["outcome"] == "failed"
    assert open_kinds(store) == [IncidentKind.CHANNEL_RESTORED, IncidentKind.CHANNEL_FORKED]


@pytest.mark.fault("F-32")
def test_a_channel_with_the_nonce_of_somebody_else_is_blocked_and_others_go_on(store, seattle):
    query(store, f"UPDATE exchange_state SET nonce = '{uuid4()}'")  # noqa: S608
    make_customer(store)
    make_customer(seattle)

    found = run("P-0001")
    again = run("P-0001")

    assert found["outcome"] == "partly"
    assert found["counts"]["staged"] == 1
    assert "two copies" in found["message"]
    assert waiting(store) == 1
    told = Incident.objects.open().get(database=store)
    assert told.kind == IncidentKind.CHANNEL_FORKED
    assert f"is blocked until incident {told.pk} is closed." in again["message"]


@pytest.mark.fault("F-32")
def test_the_database_of_another_channel_is_not_visited(houston, seattle, backed_up):
    backup = backed_up(seattle)
    backup.database = houston
    make_customer(seattle)
    backup.restore()

    found = run("P-0001")

    assert [step["outcome"] for step in found["steps"]] == ["failed", "succeeded"]
    assert open_kinds(houston) == [IncidentKind.WRONG_DATABASE]


def register_copy(copy):
    """Make a store of its own of a copied database. Returns it."""
    url = f"embedded:{copy.name}" if copy.file is None else f"sqlite:///channels/{copy.file.name}"
    new = {"code": "austin", "name": "Austin", "kind": "store", "company": "USRT"}
    with pytest.raises(RegistrationRefused, match="is a copy of another channel's"):
        register_channel(**new, database=url)
    return register_channel(**new, database=url, renew_identity=True)


@pytest.mark.fault("F-32")
def test_a_copy_registered_as_a_new_store_sends_shared_events_once(store, backed_up):
    make_customer(store, "Ann")
    austin = register_copy(backed_up(store))

    first, second = (run("P-0001", channels=[code]) for code in (store.channel.code, "austin"))
    run("pipeline")

    assert first["counts"] == {"read": 1, "staged": 1}
    assert second["counts"] == {"read": 1, "unchanged": 1}
    assert waiting(austin) == 0
    assert parts_applied(austin) == parts_applied(store) == 1
    assert open_kinds() == []


@pytest.mark.fault("F-32")
def test_what_the_original_sent_to_quarantine_is_not_missed_in_a_copy(store, backed_up):
    make_customer(store, "Ann", email="nobody")
    run("P-0001")
    register_copy(backed_up(store))

    compared = run("reconcile")

    assert Quarantine.objects.count() == 1
    assert compared["outcome"] == "succeeded"
    assert [check.id for check in verify() if not check.ok] == []


@pytest.mark.fault("F-32")
def test_a_copy_registered_as_a_new_store_doubles_no_revenue(store, backed_up, command):
    ann, moment, later = make_customer(store, "Ann"), timezone.now(), uuid4()
    make_sale(store, "10.00", transaction_id="T-1", async_account=ann)
    order = {"transaction_type": "customer_order", "confirmation_number": "SO-1"}
    make_sale(store, transaction_id="T-2", async_account=ann, **order)
    austin = register_copy(backed_up(store))
    # The till that was copied goes on counting in both; one sale was rung up twice.
    original = {"transaction_id": "T-3", "store_number": store.channel.code}
    make_sale(store, "20.00", **original)
    make_sale(austin, "30.00", event_id=later, **original)
    for shop in (store, austin):
        make_sale(shop, "5.00", transaction_id="T-4", occurred_at=moment, store_number=None)
    # Stores may number alike: what says something else, and names another store, is its own.
    make_sale(store, "40.00", transaction_id="T-5")
    make_sale(austin, "50.00", transaction_id="T-5")

    outcomes = [run("eod", channels=[code])["outcome"] for code in (store.channel.code, "austin")]
    run("sync-orders")

    assert outcomes == ["succeeded", "succeeded"]
    assert sales_of(store) == [("T-1", 10), ("T-2", 10), ("T-3", 20), ("T-4", 5), ("T-5", 40)]
    assert sales_of(austin) == [("T-5", 50)]
    kept_out = Quarantine.objects.values_list("database__channel__code", "reason", "field")
    assert list(kept_out) == [("austin", "document_elsewhere", "transaction_id")] * 2
    assert waiting(austin, "retail_transaction") == 0
    assert [check.id for check in verify() if not check.ok] == []
    # A person who has found out that both were sold lets it in.
    command("quarantine", "release", str(Quarantine.objects.get(event_id=later).pk))
    run("eod")
    assert sales_of(austin) == [("T-3", 30), ("T-5", 50)]


def sales_of(database):
    """Numbers and net amounts of what is posted for a channel."""
    posted = RetailTransaction.objects.filter(channel=database.channel, sales_order__isnull=False)
    return list(posted.order_by("transaction_id").values_list("transaction_id", "net_amount"))


def test_a_database_that_says_nothing_of_itself_is_not_visited(popup):
    query(popup, "UPDATE exchange_state SET account_high = 'nonsense'")

    assert "has no identity" in run("P-0001")["message"]
    assert open_kinds(popup) == [IncidentKind.WRONG_DATABASE]


@pytest.mark.fault("F-34")
def test_a_channel_with_a_later_visit_than_ours_means_that_hq_is_behind(store):
    query(store, "UPDATE exchange_state SET epoch = epoch + 1")
    make_customer(store)

    assert run("P-0001")["outcome"] == "failed"

    assert open_kinds(store) == [IncidentKind.HQ_BEHIND]
    assert waiting(store) == 1


def test_a_channel_that_knows_a_number_still_to_be_issued_means_that_hq_is_behind(store):
    query(store, """UPDATE exchange_state SET account_high = '{"USRT": 5001}'""")

    assert run("P-0001")["outcome"] == "failed"
    assert open_kinds(store) == [IncidentKind.HQ_BEHIND]


def test_the_channel_remembers_the_highest_number(store, seattle):
    make_customer(seattle)
    make_customer(seattle)

    run("pipeline")

    assert NumberSequence.objects.get().next == 5003
    [(high,)] = query(store, "SELECT account_high FROM exchange_state")
    assert "5002" in str(high)


def test_at_first_contact_a_database_is_taken_only_if_nobody_has_visited_it(store):
    ChannelDatabase.objects.filter(pk=store.pk).update(
        confirmed_nonce=None, database_id=uuid4(), confirmed_epoch=0
    )
    met = run("P-0001")
    ChannelDatabase.objects.filter(pk=store.pk).update(confirmed_nonce=None)
    query(store, "UPDATE exchange_state SET epoch = 3")
    used = run("P-0001")

    assert met["outcome"] == "nothing_to_do"
    assert used["outcome"] == "failed"
    assert open_kinds(store) == [IncidentKind.HQ_BEHIND]


def test_a_blocked_channel_is_not_even_opened(store):
    Incident.objects.report(IncidentKind.WRONG_DATABASE, "It was exchanged.", database=store)

    with pytest.raises(ChannelBlocked, match="is blocked until incident"), enter(make_step(store)):
        pytest.fail("it was opened")


def test_everything_that_a_restored_channel_had_is_owed_to_it(store, backed_up):
    make_customer(store)
    backup = backed_up(store)
    run("pipeline")
    backup.restore()

    with enter(make_step(store)):
        owed = Delivery.objects.pending().filter(database=store).count()

    assert owed == 1
