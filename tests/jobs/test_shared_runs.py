"""Several workers share one run: they claim its steps one by one, and replace each other."""

import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import psycopg2
import pytest
from django.db import connections
from django.db.models import F
from django.utils import timezone

from stores.hqdb.locks import Locks, participants_lock
from stores.jobs import claim as claiming
from stores.jobs import queue
from stores.jobs import run as executing
from stores.jobs.catalog import CONVERT, DOWNLOAD, JOBS, UPLOAD, Job, Step
from stores.jobs.claim import RemainingSteps, claim_steps, next_runnable_step, reclaim_steps
from stores.jobs.inline import run_inline
from stores.jobs.pool import WorkerPool
from stores.jobs.run import begin_run, execute, has_capacity, work_on
from stores.jobs.start import create_run, start_job
from stores.models import Company, JobRun, RunStep
from stores.models.run import RunLost
from stores.traffic import write_traffic
from tests.support.make import query
from tests.support.processes import running, until

pytestmark = pytest.mark.slow

PIPELINE = JOBS["pipeline"]


@pytest.fixture
def trial(monkeypatch) -> Callable[..., Job]:
    """Makes a job of these steps."""

    def make(*steps: Step) -> Job:
        job = Job("trial", "Tries what several workers do.", steps)
        monkeypatch.setitem(JOBS, job.code, job)
        return job

    return make


@pytest.fixture
def workers():
    """Lets functions run at the same time, each in a thread with connections of its own."""
    pool = ThreadPoolExecutor(3)

    def submit(work: Callable[..., Any], *args: Any) -> Any:
        def call() -> Any:
            try:
                return work(*args)
            finally:
                connections.close_all()

        return pool.submit(call)

    yield submit
    pool.shutdown()


def long_ago(**changes: Any) -> None:
    """Let all steps' workers have been silent for a minute."""
    RunStep.objects.update(heartbeat_at=timezone.now() - timedelta(minutes=1), **changes)


def statuses(run: JobRun) -> list[str]:
    return list(run.steps.order_by("position").values_list("status", flat=True))


# Sharing


def test_two_workers_do_steps_of_one_run_at_the_same_time(
    houston, seattle, trial, workers, monkeypatch
):
    monkeypatch.setattr(executing, "MAX_PARALLEL_STEPS", 1)
    both = threading.Barrier(2)
    job = trial(Step("meet", lambda _: both.wait(30), per="database"))
    run = create_run(job).run

    shared = [workers(execute, str(run.pk)) for _ in range(2)]
    for one in shared:
        one.result(60)

    assert statuses(run) == ["nothing_to_do", "nothing_to_do"]
    assert len(set(run.steps.values_list("worker", flat=True))) == 2
    assert len(set(run.steps.values_list("fencing_no", flat=True))) == 2


def test_real_workers_share_a_pipeline(houston, seattle, web, popup):
    for shop in (houston, seattle, web, popup):
        write_traffic(shop, customers=400, seed=shop.pk)
    with running("manage.py", "worker"), running("manage.py", "worker"):
        until(lambda: queue.count_workers() == 2)
        run = start_job(PIPELINE).run
        until(lambda: JobRun.objects.get(pk=run.pk).is_final)

    run.refresh_from_db()
    assert (run.status, run.counts["distributed"]) == ("succeeded", 4 * run.counts["converted"])
    assert len(set(run.steps.values_list("worker", flat=True))) == 2
    assert query(houston, "SELECT count(*) FROM account_map") == [(1600,)]


def test_a_worker_too_many_leaves_without_a_trace(houston, trial, workers):
    begun, may_end = threading.Event(), threading.Event()

    def wait(_: RunStep) -> None:
        begun.set()
        may_end.wait(30)

    run = create_run(trial(Step("wait", wait, per="database"))).run
    leader = workers(execute, str(run.pk))
    begun.wait(30)

    execute(str(run.pk))
    may_end.set()
    leader.result(60)

    assert statuses(run) == ["nothing_to_do"]


def test_a_group_is_claimed_whole_by_one_worker_and_in_fair_shares_by_two(houston, seattle, web):
    run = begin_run(create_run(JOBS["1010"]).run.pk, "first")
    with Locks() as first, Locks() as second:
        first.acquire_shared(participants_lock(run.pk))
        alone = claim_steps(run, DOWNLOAD, "first")
        claiming.release_steps(alone)
        second.acquire_shared(participants_lock(run.pk))

        shares = [len(claim_steps(run, DOWNLOAD, name)) for name in ("first", "second", "second")]

    assert len(alone) == 3
    assert shares == [2, 1, 0]


def test_one_worker_visits_some_channels_side_by_side(houston, seattle, web, trial):
    all_three = threading.Barrier(3)
    run = create_run(trial(Step("meet", lambda _: all_three.wait(30), per="database"))).run

    execute(str(run.pk))

    assert statuses(run) == ["nothing_to_do"] * 3


def test_a_busy_worker_leaves_others_of_the_run_their_share(held, monkeypatch):
    four = RemainingSteps({"upload": 3}, {"upload": 1})
    hands = WorkerPool("first")
    hands.busy.append(held)
    with Locks() as first, Locks() as second:
        first.acquire_shared(participants_lock(held.run_id))
        second.acquire_shared(participants_lock(held.run_id))
        has_room = has_capacity(hands, held.run, four, UPLOAD)
        hands.busy.append(held)

        assert has_room
        assert not has_capacity(hands, held.run, four, UPLOAD)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_calls_back_all_that_a_worker_does_side_by_side(houston, seattle, trial):
    both = threading.Barrier(2)

    def work(step: RunStep) -> None:
        if both.wait(30) == 0:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        until(lambda: step.stop_requested)
        with step.chunk():
            Company.objects.create(code="BB", name="not written")

    run = create_run(trial(Step("work", work, per="database"))).run
    with pytest.raises(KeyboardInterrupt):
        execute(str(run.pk))

    assert statuses(run) == ["cancelled", "cancelled"]
    assert not Company.objects.filter(code="BB").exists()


def test_a_visit_that_finds_its_run_taken_over_stops_the_others(houston, seattle, trial):
    both = threading.Barrier(2)

    def work(step: RunStep) -> None:
        if both.wait(30) == 0:
            JobRun.objects.update(fencing_no=F("fencing_no") + 1)
            raise RunLost
        until(lambda: step.stop_requested)
        step.check_stop()

    run = create_run(trial(Step("work", work, per="database"))).run
    execute(str(run.pk))

    assert sorted(statuses(run)) == ["queued", "running"]
    assert JobRun.objects.get().status == "running"


@pytest.mark.parametrize(
    ("waiting", "being_done", "begins"),
    [
        ({"upload": 1, "convert": 1, "download": 2}, {}, "upload"),
        ({"convert": 1, "download": 2}, {"upload": 1}, None),
        ({"convert": 1, "download": 2}, {}, "convert"),
        ({"download": 2}, {"convert": 1}, "download"),
        ({"download": 2}, {"upload": 1, "convert": 1}, None),
        ({"convert": 1, "download": 1}, {"download": 1}, "convert"),
        ({}, {"download": 1}, None),
        ({}, {}, None),
    ],
)
def test_uploads_come_first_and_downloads_begin_beside_the_last_conversions(
    waiting, being_done, begins
):
    step = next_runnable_step(PIPELINE, RemainingSteps(waiting, being_done))

    assert (step and step.code) == begins


def test_a_download_goes_on_while_conversions_of_its_run_do(houston, seattle, trial, workers):
    sent, converted = threading.Event(), threading.Event()

    def convert(step: RunStep, _: Company) -> None:
        CONVERT.execute([step])
        assert sent.wait(30)
        converted.set()

    write_traffic(houston, customers=5, seed=1)
    run_inline("P-0001")
    job = trial(Step("convert", convert, per="company"), DOWNLOAD)
    run = create_run(job).run
    shared = [workers(execute, str(run.pk)) for _ in range(2)]

    until(lambda: query(seattle, "SELECT count(*) FROM account_map") == [(5,)])
    assert not converted.is_set()
    sent.set()
    for one in shared:
        one.result(60)

    run.refresh_from_db()
    assert (run.status, run.counts["distributed"]) == ("succeeded", 10)


@pytest.mark.fault("F-09")
def test_a_run_of_a_job_that_this_release_does_not_know_is_left_to_the_newer_one(hq):
    newer = Job("of-tomorrow", "Does what nobody knows yet.", ())
    run = create_run(newer).run

    execute(str(run.pk))

    assert JobRun.objects.get().status == "queued"


# Chunks, heartbeats and takeovers


@pytest.fixture
def held(houston) -> RunStep:
    """A step that a worker has claimed."""
    run = begin_run(create_run(JOBS["P-0001"]).run.pk, "leader")
    [step] = claim_steps(run, UPLOAD, "worker")
    return step


def test_a_heartbeat_passes_a_chunk_and_a_takeover_waits_for_it(held):
    with Locks() as other, held.chunk():
        held.add(read=1)
        other.fetch_value("UPDATE run_step SET heartbeat_at = now()")
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            other.fetch_value("SELECT id FROM run_step FOR UPDATE NOWAIT")


def test_a_chunk_leaves_the_row_of_the_run_alone(held):
    with Locks() as other, held.chunk():
        held.add(read=1)
        other.fetch_value("SELECT id FROM job_run FOR UPDATE NOWAIT")


def test_a_step_whose_worker_died_waits_again_and_the_next_claim_has_a_higher_number(held):
    with held.chunk():
        held.add(read=7)
    long_ago()

    reclaim_steps(held.run, "leader")
    [again] = claim_steps(held.run, UPLOAD, "leader")

    assert (again.pk, again.counts) == (held.pk, {"read": 7})
    assert again.fencing_no > held.fencing_no
    with pytest.raises(RunLost), held.chunk():
        pytest.fail("the chunk was begun")


def test_a_step_whose_worker_lives_is_not_taken_back(held):
    long_ago(lease_until=timezone.now() + timedelta(minutes=1))
    with Locks() as worker:
        assert worker.acquire(held.lock_name)

        reclaim_steps(held.run, "leader")

    assert statuses(held.run) == ["running"]


def test_a_worker_silent_beyond_its_lease_is_cut_off_and_replaced(held):
    with Locks() as frozen:
        RunStep.objects.update(worker=frozen.worker)
        held.worker = frozen.worker
        assert frozen.acquire(held.lock_name)
        long_ago(lease_until=timezone.now() - timedelta(seconds=1))

        reclaim_steps(held.run, "leader")

        assert statuses(held.run) == ["queued"]
        with pytest.raises(psycopg2.OperationalError):
            frozen.fetch_value("SELECT 1")


def test_the_leader_does_the_step_of_a_helper_that_died(houston, seattle):
    write_traffic(houston, customers=3, seed=1)
    with Locks() as locks:
        run = begin_run(create_run(JOBS["P-0001"]).run.pk, locks.worker)
        claim_steps(run, UPLOAD, "died")
        long_ago()

        work_on(run, locks, is_leader=True)

    assert statuses(run) == ["succeeded", "nothing_to_do"]


def test_an_outcome_is_not_written_to_a_step_that_another_worker_has(held):
    long_ago()
    reclaim_steps(held.run, "leader")
    claim_steps(held.run, UPLOAD, "leader")

    held.finish("failed", "Too late.")

    assert statuses(held.run) == ["running"]


# Cancelling


def test_cancelling_stops_all_workers_of_the_run(houston, seattle, trial, workers):
    both, cancelled = threading.Barrier(3), threading.Event()

    def work(step: RunStep) -> None:
        both.wait(30)
        cancelled.wait(30)
        with step.chunk():
            Company.objects.create(code="BB", name="not written")

    run = create_run(trial(Step("work", work, per="database"))).run
    shared = [workers(execute, str(run.pk)) for _ in range(2)]
    both.wait(30)
    run.request_cancel()
    cancelled.set()
    for one in shared:
        one.result(60)

    assert statuses(run) == ["cancelled", "cancelled"]
    assert JobRun.objects.get().status == "cancelled"
    assert not Company.objects.filter(code="BB").exists()


def test_a_run_that_is_asked_to_stop_sends_nothing_more_to_a_channel(houston, seattle, monkeypatch):
    write_traffic(houston, customers=3, seed=1)
    run_inline("P-0001")
    run_inline("sync-customers")
    run = create_run(JOBS["1010"]).run
    took = executing.claim_steps

    def cancel(*args: Any) -> list[RunStep]:
        run.request_cancel()
        return took(*args)

    monkeypatch.setattr(executing, "claim_steps", cancel)
    execute(str(run.pk))

    run.refresh_from_db()
    assert (run.status, run.counts) == ("cancelled", {})
    for shop in (houston, seattle):
        assert query(shop, "SELECT count(*) FROM account_map") == [(0,)]
