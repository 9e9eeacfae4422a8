"""Times in the future, written while HQ's clock was ahead, delay nothing once it is right.

Each test writes a time of tomorrow into one column, as if HQ's clock had been a day ahead, and
shows that what depends on the column is done now.

From conftest.py: `houston` is a store on PostgreSQL.
"""

import os
from datetime import datetime, timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from stores.hqdb.locks import Locks
from stores.jobs import stalled
from stores.jobs.catalog import JOBS
from stores.jobs.claim import claim_step
from stores.jobs.plan import databases_to_visit
from stores.jobs.scheduler import compare_after_incidents, start_scheduled
from stores.jobs.stages import waiting_steps
from stores.jobs.start import create_run, start_job
from stores.messages.message import Message
from stores.models import (
    ChannelDatabase,
    ExcludedSale,
    Incident,
    IncompleteDocument,
    JobRun,
    Quarantine,
    RetailTransaction,
    RunStep,
    Schedule,
)
from stores.models.incident import IncidentKind
from stores.models.job import JobCode
from stores.models.run import Visits
from stores.models.schedule import MINUTES_A_DAY
from stores.pipeline.corrections.sale import (
    CorrectionRefused,
    correct_transaction,
    lease_transaction,
)
from tests.support.make import make_customer, make_sale, make_schedule, pass_time, run

pytestmark = pytest.mark.finding(id="V5")

ONE_DAY = timedelta(days=1)


def tomorrow():
    return timezone.now() + ONE_DAY


def test_a_pipeline_starts_though_the_last_one_ended_tomorrow(houston):
    make_schedule("pipeline", is_continuous=True)
    Schedule.objects.update(last_run=run("pipeline")["run"])
    JobRun.objects.update(ended_at=tomorrow())

    start_scheduled()

    assert JobRun.objects.live().filter(job="pipeline").count() == 1


def test_a_minutely_job_starts_though_it_last_started_tomorrow(houston):
    make_schedule("eod", every_minutes=1)
    pass_time(-MINUTES_A_DAY)

    # The first time sees the mistake, and plans anew. After the second, the next minute has not
    # come.
    for _ in range(3):
        start_scheduled()

    assert JobRun.objects.filter(job="eod").count() == 1
    assert Schedule.objects.get().next_start_at <= tomorrow()


def test_a_daily_job_planned_tomorrow_starts_at_its_next_time(houston):
    schedule = make_schedule("eod", cron="0 0 * * *")
    pass_time(-MINUTES_A_DAY)

    start_scheduled()

    assert Schedule.objects.get().next_start_at == schedule.next_start_at
    assert not JobRun.objects.exists()


def test_a_run_started_tomorrow_is_enqueued_again(houston):
    create_run(JOBS["pipeline"])
    JobRun.objects.update(created_at=tomorrow())

    assert stalled.requeue_steps() == ["Enqueued 1 step again."]


def test_a_channel_to_be_tried_again_tomorrow_is_not_backing_off(houston):
    ChannelDatabase.objects.update(next_try_at=tomorrow())

    assert ChannelDatabase.objects.not_backing_off().exists()
    assert not ChannelDatabase.objects.get().is_backing_off


def test_a_channel_to_be_tried_again_tomorrow_is_visited(houston):
    ChannelDatabase.objects.update(next_try_at=tomorrow())
    job_run = start_job(JOBS[JobCode.UPLOAD], visits=Visits.QUICK).run

    assert [database.pk for database in databases_to_visit(job_run)] == [houston.pk]


def test_a_step_leased_until_tomorrow_keeps_an_ordinary_lease(houston, settings):
    waiting = waiting_steps(create_run(JOBS["pipeline"]).run.pk)
    with Locks() as locks:
        # The worker is alive, by its lock, but may be frozen: only its lease can tell.
        step = claim_step(waiting[0], locks.worker)
        RunStep.objects.filter(pk=step.pk).update(lease_until=tomorrow())
        assert stalled.recover_lost_steps() == []

    step.refresh_from_db()
    assert step.lease_until - timezone.now() <= timedelta(seconds=settings.RUN_LEASE_S)


def test_a_step_with_a_heartbeat_of_tomorrow_is_reclaimed(houston):
    claim_step(waiting_steps(create_run(JOBS[JobCode.UPLOAD]).run.pk)[0], "died")
    RunStep.objects.update(heartbeat_at=tomorrow(), lease_until=None)

    stalled.recover_lost_steps()

    assert RunStep.objects.get().status == "queued"


def is_hung_if_moved_at(moved_at: datetime) -> bool:
    """Whether the step that this process executes counts as hung if it last moved then."""
    waiting = waiting_steps(create_run(JOBS[JobCode.UPLOAD]).run.pk)
    with Locks() as locks:
        claim_step(waiting[0], locks.worker)
        RunStep.objects.update(moved_at=moved_at)
        return stalled.is_hung(os.getpid())


def test_a_step_that_last_moved_tomorrow_is_hung(houston):
    assert is_hung_if_moved_at(tomorrow())


def test_a_step_that_moves_during_the_check_is_not_hung(houston):
    assert not is_hung_if_moved_at(timezone.now() + timedelta(seconds=2))


@pytest.fixture
def clerk(hq) -> User:
    return User.objects.create_user("clerk")


def make_order(houston: ChannelDatabase) -> None:
    make_sale(
        houston,
        transaction_id="SO-1",
        transaction_type="customer_order",
        confirmation_number="SO-1",
        async_account=make_customer(houston),
    )


def lease_everything(clerk: User) -> None:
    """Upload and validate all sales and orders; the clerk opens each for correction."""
    run(JobCode.UPLOAD)
    run("validate")
    for sale in RetailTransaction.objects.all():
        lease_transaction(sale, clerk)


@pytest.fixture(params=[ONE_DAY, 3650 * ONE_DAY], ids=["tomorrow", "in ten years"])
def in_the_future(request) -> datetime:
    return timezone.now() + request.param


@pytest.fixture
def leased_sale(houston, clerk, in_the_future) -> RetailTransaction:
    """A sale that the clerk may correct until a time in the future."""
    make_sale(houston, transaction_id="T-1")
    lease_everything(clerk)
    RetailTransaction.objects.update(editing_until=in_the_future)
    return RetailTransaction.objects.get()


@pytest.fixture
def leased_order(houston, clerk, in_the_future) -> RetailTransaction:
    """A customer order that the clerk may correct until a time in the future."""
    make_order(houston)
    lease_everything(clerk)
    RetailTransaction.objects.update(editing_until=in_the_future)
    return RetailTransaction.objects.get()


def excluded_reasons() -> set[str]:
    return set(ExcludedSale.objects.values_list("reason", flat=True))


def test_a_sale_and_an_order_wait_while_their_leases_last(houston, clerk):
    make_sale(houston, transaction_id="T-1")
    make_order(houston)

    lease_everything(clerk)

    assert excluded_reasons() == {"being_corrected"}
    assert run("eod")["outcome"] == "nothing_to_do"
    assert run("sync-orders")["outcome"] == "nothing_to_do"


def test_a_sale_leased_until_the_future_is_shown_as_free(leased_sale, client):
    client.force_login(User.objects.create_user("other"))

    page = client.get(leased_sale.get_absolute_url()).content.decode()

    assert "T-1" in page
    assert "Being corrected by" not in page


def test_a_sale_leased_until_the_future_cannot_be_corrected(leased_sale, clerk):
    with pytest.raises(CorrectionRefused, match="time to correct it has run out"):
        correct_transaction(leased_sale, clerk, "Late.", {})


def test_others_can_lease_a_sale_leased_until_the_future(leased_sale):
    other_clerk = User.objects.create_user("other")

    lease_transaction(leased_sale, other_clerk)

    assert RetailTransaction.objects.get().editing_by == other_clerk


def test_a_sale_leased_until_the_future_is_posted(leased_sale):
    assert "being_corrected" not in excluded_reasons()

    assert run("eod")["counts"]["posted"] == 1


def test_an_order_leased_until_the_future_is_posted_and_synchronized(leased_order):
    assert run("eod")["counts"]["posted"] == 1
    assert run("sync-orders")["counts"]["posted"] == 1


def test_an_incomplete_document_first_seen_tomorrow_is_quarantined(houston):
    make_sale(houston, "1.00", line_count=2)
    run(JobCode.UPLOAD)
    assert IncompleteDocument.objects.update(first_seen_at=tomorrow()) == 1

    run(JobCode.UPLOAD)

    assert Quarantine.objects.get().reason == "document_incomplete"


def close_incident(houston: ChannelDatabase, closed_at: datetime) -> None:
    """Report an incident of the channel, and close it at a time."""
    Incident.objects.report(
        IncidentKind.CHANNEL_RESTORED, Message("quoted", text="It was restored."), database=houston
    )
    Incident.objects.update(closed_at=closed_at, closing_reason="Seen.")


def test_an_incident_that_is_closed_starts_a_comparison(houston):
    close_incident(houston, timezone.now())

    assert compare_after_incidents() == ["reconcile: started after an incident, for houston."]


def test_an_incident_closed_tomorrow_starts_no_comparison(houston):
    close_incident(houston, tomorrow())

    assert compare_after_incidents() == []
