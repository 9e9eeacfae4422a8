"""Nothing goes on and nothing is broken: people are told; and times of a clock that was ahead."""

import json
import os
from collections.abc import Iterator
from datetime import timedelta

import pytest
import rq
from django.contrib.auth.models import User
from django.db.models import F
from django.utils import timezone

from stores.hqdb.locks import Locks
from stores.jobs import queue, stalled
from stores.jobs.catalog import JOBS
from stores.jobs.claim import claim_steps, reclaim_steps
from stores.jobs.liveness import liveness_problems
from stores.jobs.plan import databases_to_visit
from stores.jobs.run import begin_run
from stores.jobs.scheduler import compare_after_incidents, start_pipeline, start_scheduled
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
from stores.models.run import StartedBy
from stores.pipeline.corrections.sale import (
    CorrectionRefused,
    correct_transaction,
    lease_transaction,
    release_lease,
)
from tests.support.make import make_customer, make_sale, run

A_DAY = timedelta(days=1)


@pytest.fixture
def at_work(houston) -> Iterator[None]:
    """A scheduler and a worker are there, and the pipeline has just ended."""
    run("pipeline")
    worker = rq.Worker([queue.get_queue()], connection=queue.get_queue().connection)
    worker.register_birth()
    with Locks() as locks:
        assert locks.acquire("scheduler")
        yield
    worker.register_death()


def codes() -> list[str]:
    return [found.code for found in liveness_problems()]


def test_a15_where_nothing_runs_the_overview_and_the_command_say_so(houston, reader, command):
    told = json.loads(command("channels", "--json"))["concerns"]
    shown = {one.text: one for one in reader.get("/").context["alerts"]}

    assert [one["code"] for one in told] == ["no_scheduler", "no_worker", "no_pipeline"]
    for one in told:
        assert one["next_step"] == shown[one["text"]].next_step
        assert reader.get(shown[one["text"]].url).status_code == 200
        assert one["text"] in command("channels")


def test_a15_nothing_is_said_while_everything_runs(at_work, reader):
    assert codes() == []
    assert not reader.get("/").context["alerts"]


@pytest.mark.parametrize("ended", [-timedelta(minutes=6), A_DAY])
def test_a15_a_pipeline_that_does_not_end_any_more_is_told(at_work, ended):
    JobRun.objects.update(ended_at=timezone.now() + ended)

    assert codes() == ["no_pipeline"]


def test_a15_a_long_pipeline_is_no_silence(at_work):
    JobRun.objects.update(status="running", ended_at=None, created_at=F("created_at") - A_DAY)

    assert codes() == []


def test_a15_a_queue_that_does_not_answer_is_told(at_work, settings):
    settings.REDIS_URL = "unix:///nowhere/redis.sock"

    assert codes() == ["queue_away"]


@pytest.mark.parametrize(
    ("last", "is_told"),
    [(-timedelta(minutes=11), True), (-timedelta(minutes=7), False), (A_DAY, False)],
)
def test_a15_a_recurring_job_that_did_not_start_is_told(at_work, last, is_told):
    Schedule.objects.create(job="eod", every_minutes=5, started_at=timezone.now() + last)

    assert codes() == (["schedule_missed"] if is_told else [])


@pytest.mark.parametrize(("last", "is_told"), [(-A_DAY, True), (timedelta(0), False)])
def test_a15_a_daily_job_that_did_not_start_is_told(at_work, last, is_told):
    at = timezone.now() - timedelta(minutes=6)
    Schedule.objects.create(job="eod", at=at.time(), started_on=at.date() + last)

    assert codes() == (["schedule_missed"] if is_told else [])


# ------------------------------------------------------- a clock that was ahead, and is right now


def test_v5_the_pipeline_starts_again_though_the_last_one_ended_tomorrow(houston):
    run("pipeline")
    JobRun.objects.update(ended_at=timezone.now() + A_DAY, started_by=StartedBy.SCHEDULE)

    start_pipeline()

    assert JobRun.objects.live().filter(job="pipeline").count() == 1


@pytest.mark.parametrize(
    "schedule",
    [
        {"every_minutes": 1, "started_at": timezone.now() + A_DAY},
        {"at": "00:00", "started_on": timezone.now().date() + A_DAY},
    ],
)
def test_v5_a_schedule_starts_though_it_last_started_tomorrow(houston, schedule):
    Schedule.objects.create(job="eod", **schedule)

    start_scheduled()
    start_scheduled()

    assert JobRun.objects.filter(job="eod").count() == 1
    assert Schedule.objects.get().next_start <= timezone.now() + A_DAY


def test_v5_a_run_that_was_rung_for_tomorrow_is_rung_for_again(houston):
    started = start_job(JOBS["pipeline"]).run
    JobRun.objects.update(rung_at=timezone.now() + A_DAY, created_at=timezone.now() + A_DAY)

    assert [found.pk for found in stalled.waiting_for_worker()] == [started.pk]


def test_v5_a_channel_whose_next_try_is_tomorrow_is_visited(houston):
    ChannelDatabase.objects.update(next_try_at=timezone.now() + A_DAY)

    assert ChannelDatabase.objects.not_paused().exists()
    assert not ChannelDatabase.objects.get().is_paused


def test_v5_a_lease_until_tomorrow_is_no_longer_than_any_other(houston, settings):
    started = start_job(JOBS["pipeline"]).run
    tomorrow = timezone.now() + A_DAY
    JobRun.objects.update(status="running", lease_until=tomorrow)
    with Locks() as locks:
        # Alive by its lock: a frozen process that nobody but its lease gives away.
        assert locks.acquire(f"run:{started.pk}")
        stalled.recover_stalled_runs()

    left = JobRun.objects.get(pk=started.pk).lease_until - timezone.now()
    assert left <= timedelta(seconds=settings.RUN_LEASE_S)


@pytest.mark.parametrize("until", [A_DAY, 3650 * A_DAY], ids=["tomorrow", "in ten years"])
def test_v5_who_corrects_until_then_keeps_nobody_waiting(houston, reader, until):
    clerk, other = (User.objects.create_user(name) for name in ("clerk", "other"))
    make_sale(houston, transaction_id="T-1")
    order = {"transaction_type": "customer_order", "confirmation_number": "SO-1"}
    make_sale(houston, transaction_id="SO-1", async_account=make_customer(houston), **order)
    run("P-0001")
    run("validate")
    sales = RetailTransaction.objects.order_by("pk")
    for one in sales:
        lease_transaction(one, clerk)
    assert set(ExcludedSale.objects.values_list("reason", flat=True)) == {"being_corrected"}
    assert run("eod")["outcome"] == run("sync-orders")["outcome"] == "nothing_to_do"
    sales.update(editing_until=timezone.now() + until)
    sale = sales.get(transaction_id="T-1")

    assert "being_corrected" not in ExcludedSale.objects.values_list("reason", flat=True)
    assert "Being corrected by" not in reader.get(sale.get_absolute_url()).content.decode()
    with pytest.raises(CorrectionRefused, match="time to correct it has run out"):
        correct_transaction(sale, clerk, "Late.", {})
    lease_transaction(sale, other)
    release_lease(sale, other)
    assert run("eod")["counts"]["posted"] == 2
    assert run("sync-orders")["counts"]["posted"] == 1


def test_v5_a_step_whose_worker_was_heard_of_tomorrow_is_taken_back(houston):
    with Locks() as locks:
        started = begin_run(create_run(JOBS["P-0001"]).run.pk, locks.worker)
        claim_steps(started, JOBS["P-0001"].steps[0], "died")
        RunStep.objects.update(heartbeat_at=timezone.now() + A_DAY, lease_until=None)

        reclaim_steps(started, locks.worker)

    assert RunStep.objects.get().status == "queued"


@pytest.mark.parametrize(("moved", "hangs"), [(A_DAY, True), (timedelta(seconds=2), False)])
def test_v5_a_step_that_last_moved_tomorrow_hangs(houston, moved, hangs):
    with Locks() as locks:
        started = begin_run(create_run(JOBS["P-0001"]).run.pk, locks.worker)
        claim_steps(started, JOBS["P-0001"].steps[0], locks.worker)
        RunStep.objects.update(moved_at=timezone.now() + moved)

        assert stalled.is_hung(str(started.pk), os.getpid()) is hangs


def test_v5_a_document_that_was_first_seen_tomorrow_waits_no_longer(houston):
    make_sale(houston, "1.00", line_count=2)
    run("P-0001")
    assert IncompleteDocument.objects.update(first_seen_at=timezone.now() + A_DAY) == 1

    run("P-0001")

    assert Quarantine.objects.get().reason == "document_incomplete"


def test_v5_an_incident_closed_tomorrow_starts_no_comparison_again_and_again(houston):
    Incident.objects.report(IncidentKind.CHANNEL_RESTORED, "It was restored.", database=houston)
    Incident.objects.update(closed_at=timezone.now() + A_DAY, closing_reason="Seen.")

    assert compare_after_incidents() == []


def test_v5_a_run_of_tomorrow_does_not_hide_how_the_last_one_ended(at_work, reader):
    JobRun.objects.update(status="failed", ended_at=timezone.now() + A_DAY)

    texts = [one.text for one in reader.get("/").context["alerts"]]

    assert "Last run of pipeline: failed." not in texts


def test_v5_every_database_is_planned_for(houston):
    ChannelDatabase.objects.update(next_try_at=timezone.now() + A_DAY)
    started = start_job(JOBS["P-0001"], started_by=StartedBy.SCHEDULE).run

    assert [found.pk for found in databases_to_visit(started)] == [houston.pk]
