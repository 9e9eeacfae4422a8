"""Times in the future, written while HQ's clock was ahead, delay nothing once it is right.

From conftest.py: `houston` is a store on PostgreSQL.
"""

import os
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from stores.hqdb.locks import Locks
from stores.jobs import stalled
from stores.jobs.catalog import JOBS
from stores.jobs.claim import claim_step
from stores.jobs.plan import databases_to_visit
from stores.jobs.scheduler import compare_after_incidents, start_pipeline, start_scheduled
from stores.jobs.stages import waiting_steps
from stores.jobs.start import create_run, start_job
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
from stores.models.run import StartedBy
from stores.pipeline.corrections.sale import (
    CorrectionRefused,
    correct_transaction,
    lease_transaction,
    release_lease,
)
from tests.support.make import make_customer, make_sale, run

pytestmark = pytest.mark.finding(id="V5")

ONE_DAY = timedelta(days=1)


def tomorrow():
    return timezone.now() + ONE_DAY


def excluded_reasons() -> set[str]:
    return set(ExcludedSale.objects.values_list("reason", flat=True))


def test_a_pipeline_starts_though_the_last_one_ended_tomorrow(houston):
    run("pipeline")
    JobRun.objects.update(ended_at=tomorrow(), started_by=StartedBy.SCHEDULE)

    start_pipeline()

    assert JobRun.objects.live().filter(job="pipeline").count() == 1


@pytest.mark.parametrize(
    "schedule",
    [
        {"every_minutes": 1, "started_at": tomorrow()},
        {"at": "00:00", "started_on": tomorrow().date()},
    ],
    ids=["every minute", "daily"],
)
def test_a_job_starts_once_though_its_last_start_was_tomorrow(houston, schedule):
    Schedule.objects.create(job="eod", **schedule)

    start_scheduled()
    start_scheduled()

    assert JobRun.objects.filter(job="eod").count() == 1
    assert Schedule.objects.get().next_start <= tomorrow()


def test_a_run_started_tomorrow_is_enqueued_again(houston):
    create_run(JOBS["pipeline"])
    JobRun.objects.update(created_at=tomorrow())

    assert stalled.requeue_steps() == ["Enqueued 1 step again."]


def test_a_channel_to_be_tried_again_tomorrow_is_not_paused(houston):
    ChannelDatabase.objects.update(next_try_at=tomorrow())

    assert ChannelDatabase.objects.not_paused().exists()
    assert not ChannelDatabase.objects.get().is_paused


def test_a_channel_to_be_tried_again_tomorrow_is_visited(houston):
    ChannelDatabase.objects.update(next_try_at=tomorrow())
    job_run = start_job(JOBS[JobCode.UPLOAD], started_by=StartedBy.SCHEDULE).run

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


@pytest.mark.parametrize(
    ("ahead", "is_hung"),
    [(ONE_DAY, True), (timedelta(seconds=2), False)],
    ids=["tomorrow", "in two seconds"],
)
def test_a_step_that_last_moved_tomorrow_is_hung(houston, ahead, is_hung):
    waiting = waiting_steps(create_run(JOBS[JobCode.UPLOAD]).run.pk)
    with Locks() as locks:
        claim_step(waiting[0], locks.worker)
        RunStep.objects.update(moved_at=timezone.now() + ahead)

        assert stalled.is_hung(os.getpid()) is is_hung


@pytest.mark.parametrize("ahead", [ONE_DAY, 3650 * ONE_DAY], ids=["tomorrow", "in ten years"])
def test_a_correction_leased_until_the_future_has_ended(houston, client, ahead):
    clerk = User.objects.create_user("clerk")
    other_clerk = User.objects.create_user("other")
    make_sale(houston, transaction_id="T-1")
    order = {"transaction_type": "customer_order", "confirmation_number": "SO-1"}
    make_sale(houston, transaction_id="SO-1", async_account=make_customer(houston), **order)
    run(JobCode.UPLOAD)
    run("validate")
    for sale in RetailTransaction.objects.order_by("pk"):
        lease_transaction(sale, clerk)
    assert excluded_reasons() == {"being_corrected"}
    assert run("eod")["outcome"] == "nothing_to_do"
    assert run("sync-orders")["outcome"] == "nothing_to_do"

    RetailTransaction.objects.update(editing_until=timezone.now() + ahead)

    sale = RetailTransaction.objects.get(transaction_id="T-1")
    client.force_login(other_clerk)
    assert "being_corrected" not in excluded_reasons()
    assert "Being corrected by" not in client.get(sale.get_absolute_url()).content.decode()
    with pytest.raises(CorrectionRefused, match="time to correct it has run out"):
        correct_transaction(sale, clerk, "Late.", {})
    lease_transaction(sale, other_clerk)
    release_lease(sale, other_clerk)
    assert run("eod")["counts"]["posted"] == 2
    assert run("sync-orders")["counts"]["posted"] == 1


def test_an_incomplete_document_first_seen_tomorrow_is_quarantined(houston):
    make_sale(houston, "1.00", line_count=2)
    run(JobCode.UPLOAD)
    assert IncompleteDocument.objects.update(first_seen_at=tomorrow()) == 1

    run(JobCode.UPLOAD)

    assert Quarantine.objects.get().reason == "document_incomplete"


def test_an_incident_closed_tomorrow_starts_no_comparison(houston):
    Incident.objects.report(IncidentKind.CHANNEL_RESTORED, "It was restored.", database=houston)
    Incident.objects.update(closed_at=tomorrow(), closing_reason="Seen.")

    assert compare_after_incidents() == []
