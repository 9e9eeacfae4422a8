"""HQ recognises a database that was restored, copied or exchanged since its last visit.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `seattle` is
another store on PostgreSQL; `popup` is one on SQLite; `store` is a store, once on PostgreSQL and
once on SQLite; `back_up` backs up a channel database.
"""

from dataclasses import dataclass
from uuid import uuid4

import pytest

from stores.channeldb.errors import ChannelBlocked
from stores.messages.message import Message
from stores.models import AsyncCustomer, ChannelDatabase, Incident
from stores.models.incident import IncidentKind
from stores.models.job import JobCode
from stores.pipeline.fence.decision import number_seen
from stores.pipeline.fence.visit import enter
from tests.support.after_a_fault import waiting
from tests.support.fence import make_step, open_incidents, token_at_hq, token_in_channel
from tests.support.make import lookup, make_customer, pending, query, run

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Restored:
    """A store that was restored to the time before it had Bo, and has the new customer Di since."""

    database: ChannelDatabase
    bo: AsyncCustomer


@pytest.fixture
def restored(store, seattle, back_up) -> Restored:
    make_customer(store, "Ann")
    run(JobCode.PIPELINE)
    backup = back_up(store)
    make_customer(store, "Bo")
    make_customer(seattle, "Cy")
    run(JobCode.PIPELINE)
    backup.restore()
    make_customer(store, "Di")
    return Restored(store, AsyncCustomer.objects.get(first_name="Bo"))


@pytest.mark.fault("F-31")  # a channel was restored from a backup
def test_a_restored_channel_opens_an_incident_that_names_lost_events(restored):
    run(JobCode.PIPELINE)

    incident = Incident.objects.open().get(database=restored.database)
    assert incident.kind == IncidentKind.CHANNEL_RESTORED
    assert incident.detail["forgotten"] == {
        "async_customer": {"count": 1, "first": [str(restored.bo.event_id)]}
    }


@pytest.mark.fault("F-31")  # a channel was restored from a backup
def test_events_after_a_restore_are_told_from_lost_ones_by_generation(restored):
    run(JobCode.PIPELINE)

    di = AsyncCustomer.objects.get(first_name="Di")
    # The channel has forgotten that it gave this counter to Bo.
    assert di.replication_counter == restored.bo.replication_counter
    assert (restored.bo.generation, di.generation) == (1, 2)


@pytest.mark.fault("F-31")  # a channel was restored from a backup
def test_a_restored_channel_is_sent_everything_again(restored, seattle):
    assert run(JobCode.PIPELINE)["outcome"] == "succeeded"
    assert run(JobCode.PIPELINE)["outcome"] == "nothing_to_do"

    for channel in (restored.database, seattle):
        assert {name for _, name in lookup(channel)} == {"Ann", "Bo", "Cy", "Di"}
        assert query(channel, "SELECT count(*) FROM account_map") == [(4,)]
    assert token_in_channel(restored.database) == token_at_hq(restored.database)


@pytest.mark.fault("F-31")  # a channel was restored from a backup
def test_known_events_that_a_restored_channel_sends_again_change_nothing(store, back_up):
    make_customer(store, "Ann")
    backup = back_up(store)
    run(JobCode.PIPELINE)
    make_customer(store, "Bo")
    run(JobCode.UPLOAD)
    backup.restore()

    upload = run(JobCode.UPLOAD)

    assert upload["counts"] == {"read": 1, "unchanged": 1}
    assert AsyncCustomer.objects.get(first_name="Ann").generation == 1


def test_a_channel_restored_twice_a_day_counts_as_copied(store, back_up):
    make_customer(store, "Ann")
    run(JobCode.PIPELINE)
    backup = back_up(store)

    make_customer(store, "Bo")
    run(JobCode.PIPELINE)
    backup.restore()
    once = run(JobCode.UPLOAD)
    make_customer(store, "Cy")
    run(JobCode.PIPELINE)
    backup.restore()
    twice = run(JobCode.UPLOAD)

    assert once["outcome"] != "failed"
    assert twice["outcome"] == "failed"
    assert open_incidents(store) == [IncidentKind.CHANNEL_RESTORED, IncidentKind.CHANNEL_FORKED]


def test_customers_that_a_restored_channel_had_are_pending_again(store, back_up):
    make_customer(store)
    backup = back_up(store)
    run(JobCode.PIPELINE)
    backup.restore()

    with enter(make_step(store)):
        assert len(pending(store)) == 1


@pytest.mark.fault("F-32")  # a channel database was copied
def test_only_a_channel_with_an_unknown_nonce_is_blocked(store, seattle):
    query(store, f"UPDATE exchange_state SET nonce = '{uuid4()}'")  # noqa: S608
    make_customer(store)
    make_customer(seattle)

    first = run(JobCode.UPLOAD)
    second = run(JobCode.UPLOAD)

    assert first["outcome"] == "partly"
    assert first["counts"]["staged"] == 1
    assert "two copies" in first["message"]
    assert waiting(store) == 1
    incident = Incident.objects.open().get(database=store)
    assert incident.kind == IncidentKind.CHANNEL_FORKED
    assert f"is blocked until incident {incident.pk} is closed." in second["message"]


@pytest.mark.fault("F-32")  # a channel database was copied
def test_the_database_of_another_channel_is_not_visited(houston, seattle, back_up):
    backup = back_up(seattle)
    make_customer(seattle)
    # Seattle's backup is restored into Houston's database.
    backup.database = houston
    backup.restore()

    result = run(JobCode.UPLOAD)

    assert [step["outcome"] for step in result["steps"]] == ["failed", "succeeded"]
    assert open_incidents(houston) == [IncidentKind.WRONG_DATABASE]


def test_a_database_without_an_identity_is_not_visited(popup):
    # The identity is not read without the numbers beside it, which are JSON.
    query(popup, "UPDATE exchange_state SET account_high = 'nonsense'")

    assert "has no identity" in run(JobCode.UPLOAD)["message"]
    assert open_incidents(popup) == [IncidentKind.WRONG_DATABASE]


@pytest.mark.fault("F-34")  # two HQs use the same channels
def test_a_channel_with_a_later_epoch_shows_hq_behind(store):
    query(store, "UPDATE exchange_state SET epoch = epoch + 1")
    make_customer(store)

    assert run(JobCode.UPLOAD)["outcome"] == "failed"

    assert open_incidents(store) == [IncidentKind.HQ_BEHIND]
    assert waiting(store) == 1


def test_a_channel_with_a_later_number_shows_hq_behind(store):
    # The first number of the company, which HQ has not issued yet.
    query(store, """UPDATE exchange_state SET account_high = '{"USRT": 5001}'""")

    assert run(JobCode.UPLOAD)["outcome"] == "failed"
    assert open_incidents(store) == [IncidentKind.HQ_BEHIND]


def test_names_that_only_the_channel_knows_are_shortened():
    message = number_seen("s" * 1_000_000, 5, "c\n" * 1_000_000, 0)

    assert len(str(message)) < 200
    assert str(message).isprintable()


def forget_visits(database: ChannelDatabase, **fields: object) -> None:
    """Let HQ meet the channel as if for the first time."""
    ChannelDatabase.objects.filter(pk=database.pk).update(confirmed_nonce=None, **fields)


def test_a_new_channel_that_was_never_visited_is_accepted(store):
    forget_visits(store, database_id=uuid4(), confirmed_epoch=0)

    assert run(JobCode.UPLOAD)["outcome"] == "nothing_to_do"
    assert open_incidents(store) == []


def test_a_new_channel_that_was_visited_before_is_refused(store):
    forget_visits(store)
    query(store, "UPDATE exchange_state SET epoch = 3")

    assert run(JobCode.UPLOAD)["outcome"] == "failed"
    assert open_incidents(store) == [IncidentKind.HQ_BEHIND]


def test_a_channel_is_not_called_blocked_once_its_incidents_are_closed(popup):
    kinds = (IncidentKind.WRONG_DATABASE, IncidentKind.CHANNEL_FORKED)
    message = Message("quoted", text="It was exchanged.")
    first, second = (Incident.objects.report(kind, message, database=popup) for kind in kinds)
    run(JobCode.UPLOAD)

    def last_error() -> str:
        return str(ChannelDatabase.objects.get(pk=popup.pk).last_error)

    first.close("It is back.")
    assert "is blocked until incident" in last_error()
    second.close("It is back.")
    assert last_error() == ""


def test_a_blocked_channel_is_not_opened(store):
    Incident.objects.report(
        IncidentKind.WRONG_DATABASE, Message("quoted", text="It was exchanged."), database=store
    )

    with pytest.raises(ChannelBlocked, match="is blocked until incident"), enter(make_step(store)):
        pytest.fail("it was opened")
