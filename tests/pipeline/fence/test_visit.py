"""The fence: only the latest visit of a channel may write to it.

From conftest.py: `seattle` is a store on PostgreSQL; `store` is a store, once on PostgreSQL and
once on SQLite.
"""

from contextlib import ExitStack
from uuid import uuid4

import pytest
from django.db import connections

from stores import failpoints
from stores.channeldb.connect.connection import alias_of
from stores.channeldb.exchange.open import visit
from stores.jobs.stalled import recover_lost_steps
from stores.models import (
    ChannelDatabase,
    NumberSequence,
)
from stores.models.job import JobCode
from stores.models.run import RunLost
from stores.pipeline.fence.visit import FencedChannel, enter
from stores.pipeline.upload.upload import UPLOAD_SOURCES
from tests.support.after_a_fault import waiting
from tests.support.fence import make_step, open_incidents, token_at_hq, token_in_channel
from tests.support.make import make_customer, query, run
from tests.support.processes import dying_at

pytestmark = pytest.mark.slow

FENCE_FAILPOINTS = [name for name in failpoints.FAILPOINTS if name.startswith("fence:")]


def read_oldest_events(channel):
    """One event of each table that has any, as an upload would read it."""
    batches = channel.read_events(UPLOAD_SOURCES, limit=1, beyond={})
    return [batch for batch in batches if batch.total]


def count_applied_sessions(database):
    [(count,)] = query(database, "SELECT count(*) FROM applied_session")
    return count


def test_a_visit_that_finds_nothing_to_do_writes_nothing(store):
    before = token_in_channel(store), token_at_hq(store)

    run(JobCode.UPLOAD)

    assert (token_in_channel(store), token_at_hq(store)) == before


def test_empty_tables_are_not_read(seattle):
    statements = []

    def record(execute, statement, params, many, context):
        statements.append(statement)
        return execute(statement, params, many, context)

    with visit(seattle) as channel, connections[alias_of(seattle)].execute_wrapper(record):
        batches = channel.read_events(UPLOAD_SOURCES, limit=1, beyond={})

    assert [batch.total for batch in batches] == [0] * len(UPLOAD_SOURCES)
    # Two that set up the transaction, and one that looks into all tables.
    assert len(statements) == 3


def test_a_dry_run_writes_nothing(store):
    make_customer(store)
    before = token_in_channel(store), token_at_hq(store)

    assert run(JobCode.UPLOAD, dry_run=True)["counts"]["staged"] == 1

    assert (token_in_channel(store), token_at_hq(store)) == before


def test_the_first_write_of_a_visit_renews_the_token_once(store):
    make_customer(store)
    epoch, nonce = token_in_channel(store)

    run(JobCode.UPLOAD)

    new_epoch, new_nonce = token_in_channel(store)
    assert (new_epoch, new_nonce) == token_at_hq(store)
    assert new_epoch == epoch + 1
    assert new_nonce != nonce


@pytest.mark.parametrize("failpoint", FENCE_FAILPOINTS)
def test_a_visit_that_died_taking_the_fence_is_continued(store, failpoint):
    make_customer(store)
    epoch, _ = token_in_channel(store)
    with dying_at(failpoint):
        run(JobCode.UPLOAD)
    has_intention = ChannelDatabase.objects.get(pk=store.pk).intended_nonce is not None
    is_unused = has_intention and token_in_channel(store)[0] == epoch
    recover_lost_steps()

    pipeline = run(JobCode.PIPELINE)

    assert pipeline["outcome"] == "succeeded"
    assert open_incidents(store) == []
    assert token_in_channel(store) == token_at_hq(store)
    # An intention that the channel has not seen yet is used instead of a new one.
    assert token_in_channel(store)[0] == epoch + (2 if is_unused else 3)


def test_upload_and_download_of_one_database_do_not_interfere(store):
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


@pytest.mark.fault("F-05")  # a process is frozen longer than its lease
def test_a_replaced_worker_writes_nothing_when_it_continues(store):
    make_customer(store, "Ann")
    make_customer(store, "Bo")
    step = make_step(store)
    with enter(step) as paused:
        paused.acknowledge(read_oldest_events(paused))
        events = read_oldest_events(paused)
        recover_lost_steps()
        # The channel is open in this thread already, so the later visit shares the connection.
        later = FencedChannel(paused.channel, store, make_step(store).chunk)
        later.apply([], session=uuid4(), part=1, job="1010")

        with pytest.raises(RunLost):
            paused.acknowledge(events)

    assert waiting(store) == 1


def test_a_channel_is_told_the_highest_number(store, seattle):
    make_customer(seattle)
    make_customer(seattle)

    run(JobCode.PIPELINE)

    assert NumberSequence.objects.get().next == 5003
    [(account_high,)] = query(store, "SELECT account_high FROM exchange_state")
    assert "5002" in str(account_high)
