"""Steps are jobs of the queue: workers take steps of one run, and nobody leads.

From conftest.py: `houston` is a store on PostgreSQL; `seattle` is another store on PostgreSQL;
`web` is a web shop on PostgreSQL; `popup` is one on SQLite.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise
from typing import Any

import psycopg2
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import connections
from django.utils import timezone

from stores.hqdb.locks import Locks
from stores.jobs import claim, queue
from stores.jobs import run as executing
from stores.jobs.catalog import JOBS, UPLOAD, Job, Step
from stores.jobs.claim import claim_step, claim_turn
from stores.jobs.inline import run_inline
from stores.jobs.plan import turns
from stores.jobs.queue import enqueued_steps
from stores.jobs.run import execute
from stores.jobs.scheduler import start_for_slow_channels
from stores.jobs.stages import cancel_run, waiting_steps
from stores.jobs.stalled import MAX_LOSSES, recover_lost_steps, run_maintenance
from stores.jobs.start import create_run, start_job
from stores.models import ChannelDatabase, Company, JobRun, RunStep
from stores.models.job import JobCode
from stores.models.run import RunLost, StartedBy
from stores.traffic import write_traffic
from tests.support.make import carry_out, make_customer, make_schedule, query, run
from tests.support.processes import children_of, is_running, kill, pid_of, running, until

pytestmark = pytest.mark.slow

PIPELINE = JOBS["pipeline"]


@pytest.fixture
def trial(monkeypatch) -> Callable[..., Job]:
    """Makes a job of these steps."""

    def make(*steps: Step) -> Job:
        job = Job("trial", "Tries what workers do with steps.", steps)
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


def statuses(run: JobRun) -> list[str]:
    return list(run.steps.order_by("position").values_list("status", flat=True))


# Two workers and more


def test_two_workers_share_the_steps_of_a_run(houston, seattle, trial, workers):
    both = threading.Barrier(2)
    run = create_run(trial(Step("meet", lambda _: both.wait(30), per="database"))).run

    executions = [workers(execute, str(step)) for step in waiting_steps(run.pk)]
    for execution in executions:
        execution.result(60)

    assert statuses(run) == ["nothing_to_do", "nothing_to_do"]
    assert len(set(run.steps.values_list("worker", flat=True))) == 2
    assert len(set(run.steps.values_list("fencing_no", flat=True))) == 2
    run.refresh_from_db()
    assert run.status == "nothing_to_do"


def test_the_last_step_of_a_stage_enqueues_the_next_stage(houston, seattle):
    make_customer(houston)
    run = create_run(PIPELINE).run
    first, last = waiting_steps(run.pk)

    execute(str(first))
    assert (enqueued_steps(), waiting_steps(run.pk)) == ([], [last])
    execute(str(last))

    convert = run.steps.get(step="convert")
    assert enqueued_steps() == waiting_steps(run.pk) == [convert.pk]


def test_two_last_steps_at_once_enqueue_the_next_stage_once(houston, seattle, trial, workers):
    both = threading.Barrier(2)
    job = trial(
        Step("meet", lambda _: both.wait(30), per="database"),
        Step("follow", lambda *_: None, per="company"),
    )
    run = create_run(job).run

    executions = [workers(execute, str(step)) for step in waiting_steps(run.pk)]
    for execution in executions:
        execution.result(60)

    assert enqueued_steps() == [run.steps.get(step="follow").pk]


@pytest.mark.parametrize("pools", [[("--processes", "2")], [("--processes", "1")] * 2])
def test_real_workers_share_a_pipeline(houston, seattle, web, popup, pools):
    for shop in (houston, seattle, web, popup):
        write_traffic(shop, customers=400, seed=shop.pk)
    first, *others = pools
    with running("manage.py", "worker", *first):
        for other in others:
            with running("manage.py", "worker", *other):
                run = share()
        if not others:
            run = share()

    assert (run.status, run.counts["distributed"]) == ("succeeded", 4 * run.counts["converted"])
    uploads = run.steps.filter(step="upload").order_by("started_at")
    assert any(later.started_at < upload.ended_at for upload, later in pairwise(uploads))
    assert query(houston, "SELECT count(*) FROM account_map") == [(1600,)]


def share() -> JobRun:
    """A pipeline that two workers have done, once both listen."""
    until(lambda: queue.count_workers() == 2)
    run = start_job(PIPELINE).run
    until(lambda: JobRun.objects.get(pk=run.pk).has_ended)
    run.refresh_from_db()
    return run


def test_a_pool_replaces_a_process_that_died_and_ends_whole(houston):
    with running("manage.py", "worker", "--processes", "2") as pool:
        until(lambda: queue.count_workers() == 2)
        before = set(children_of(pool.pid))
        kill(min(before))
        until(lambda: len(set(children_of(pool.pid)) - before) == 1)
        after = children_of(pool.pid)
        assert len(after) == 2

        pool.send_signal(signal.SIGTERM)
        assert pool.wait(60) == 0
        assert not [pid for pid in after if is_alive(pid)]


def test_a_pool_that_is_stopped_while_it_starts_ends_whole(houston):
    with running("manage.py", "worker", "--processes", "4") as pool:
        until(lambda: len(children_of(pool.pid)) > 1)
        after = children_of(pool.pid)

        pool.send_signal(signal.SIGTERM)

        assert pool.wait(60) == 0
        assert not [pid for pid in after if is_alive(pid)]


def test_the_processes_of_a_killed_pool_die_with_it(houston):
    with running("manage.py", "worker", "--processes", "2") as pool:
        until(lambda: queue.count_workers() == 2)
        processes = children_of(pool.pid)
        kill(pool.pid)
        until(lambda: not [pid for pid in processes if is_alive(pid)])


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        ("0", "0 is less than 1"),
        ("-1", "-1 is less than 1"),
        ("65", "65 is more than 64"),
        ("many", "'many' is not a whole number"),
        ("²", "'²' is not a whole number"),
    ],
)
def test_a_pool_has_between_one_and_sixty_four_processes(hq, number, sentence):
    with pytest.raises(CommandError) as refused:
        call_command("worker", "--processes", number)

    assert str(refused.value) == f"argument --processes: {sentence}"


@pytest.mark.fault("F-02")  # a worker process dies
def test_a_killed_work_horse_s_step_is_done_by_the_next(houston):
    make_customer(houston)
    with running("manage.py", "worker", "--processes", "1") as worker:
        # The conversion waits for it.
        with Locks() as locks, locks.held("accounts:USRT"):
            until(queue.count_workers)
            started = start_job(PIPELINE).run
            step = started.steps.get(step="convert")
            until(lambda: RunStep.objects.get(pk=step.pk).started_at)
            step.refresh_from_db()
            assert children_of(worker.pid) == [pid_of(step)]
            kill(pid_of(step))
            # Sooner than the maintenance that comes every 15 seconds.
            until(lambda: RunStep.objects.get(pk=step.pk).losses == 1, 5)
        until(lambda: JobRun.objects.get(pk=started.pk).has_ended)

    assert JobRun.objects.get().status == "succeeded"


def test_a_message_too_many_leaves_without_a_trace(houston, trial, workers):
    begun, may_end = threading.Event(), threading.Event()

    def wait(_: RunStep) -> None:
        begun.set()
        may_end.wait(30)

    run = create_run(trial(Step("wait", wait, per="database"))).run
    [step] = waiting_steps(run.pk)
    first = workers(execute, str(step))
    begun.wait(30)

    execute(str(step))
    assert statuses(run) == ["running"]
    may_end.set()
    first.result(60)

    assert statuses(run) == ["nothing_to_do"]


@pytest.mark.fault("F-37")  # the queue was emptied or is old
@pytest.mark.parametrize("number", ["0", "99999999"])
def test_a_message_for_a_step_that_nobody_knows_does_nothing(hq, number):
    execute(number)

    assert not JobRun.objects.exists()


def test_a_turn_is_claimed_though_another_worker_begins_its_run(houston, seattle, monkeypatch):
    mine, theirs = waiting_steps(create_run(JOBS[JobCode.UPLOAD]).run.pk)
    begin_run = claim.begin_run

    def begin_too_late(step_id: int) -> None:
        monkeypatch.setattr(claim, "begin_run", begin_run)
        assert claim_step(theirs, "quicker")
        begin_run(step_id)

    monkeypatch.setattr(claim, "begin_run", begin_too_late)

    claimed = claim_step(mine, "slower")

    assert claimed
    assert claimed.pk == mine


@pytest.mark.fault("F-09")  # an old and a new release run side by side
def test_a_run_of_an_unknown_job_is_left_to_newer_workers(houston, trial, monkeypatch):
    run = create_run(trial(Step("tomorrow", lambda _: None, per="run"))).run
    step = run.steps.get()
    monkeypatch.delitem(JOBS, "trial")

    execute(str(step.pk))

    assert run_maintenance() == []
    assert (JobRun.objects.get().status, statuses(run)) == ("queued", ["queued"])


@pytest.mark.fault("F-09")  # an old and a new release run side by side
def test_a_run_of_an_unknown_job_moves_on_when_a_step_is_given_up(houston, trial, monkeypatch):
    job = trial(*(Step(word, lambda _: None, per="run") for word in ("first", "second")))
    run = create_run(job).run
    first = claim_step(waiting_steps(run.pk)[0], "dead")
    RunStep.objects.filter(pk=first.pk).update(losses=MAX_LOSSES - 1)
    monkeypatch.delitem(JOBS, "trial")

    recover_lost_steps()

    run.refresh_from_db()
    assert (run.status, run.stage) == ("running", 2)
    assert statuses(run) == ["failed", "queued"]


# Turns: what one job does together


def test_small_channels_are_visited_by_one_job(houston, seattle, web, popup):
    ChannelDatabase.objects.update(last_duration_s=0.01)
    ChannelDatabase.objects.filter(pk=web.pk).update(last_duration_s=3)

    started = create_run(JOBS[JobCode.UPLOAD]).run

    jobs = [{row.place for row in claim_turn(step, "w")} for step in waiting_steps(started.pk)]
    assert sorted(jobs, key=sorted) == [{"houston", "popup", "seattle"}, {"web"}]


def test_ten_thousand_idle_channels_are_hundreds_of_jobs():
    rows = [RunStep(database=ChannelDatabase(last_duration_s=0.01)) for _ in range(10_000)]

    assert len(list(turns(UPLOAD, rows))) == 200


def test_another_worker_does_the_rest_of_a_long_turn(houston, seattle, web, popup, trial, workers):
    ChannelDatabase.objects.update(last_duration_s=0.01)
    begun, may_end, done = threading.Event(), threading.Event(), []

    def visit(row: RunStep) -> None:
        if not begun.is_set():
            begun.set()
            may_end.wait(30)
        done.append((row.place, row.worker))

    started = create_run(trial(Step("visit", visit, per="database", together=50))).run
    [turn] = waiting_steps(started.pk)
    held_up = workers(execute, str(turn))
    begun.wait(30)
    assert statuses(started) == ["running", "queued", "queued", "queued"]
    run_maintenance()
    assert enqueued_steps() == []

    started.steps.filter(status="running").update(started_at=timezone.now() - timedelta(seconds=3))
    run_maintenance()
    [left] = enqueued_steps()
    run_maintenance()
    assert enqueued_steps() == [left]
    execute(str(left))
    assert [place for place, _ in done] == ["popup", "seattle", "web"]
    may_end.set()
    held_up.result(60)

    assert done[-1][0] == "houston"
    assert len({worker for _, worker in done}) == 2
    assert statuses(started) == ["nothing_to_do"] * 4


def test_channels_never_visited_come_first_then_those_visited_longest_ago(houston, seattle, web):
    now = timezone.now()
    ChannelDatabase.objects.filter(pk=houston.pk).update(last_visited_at=now)
    ChannelDatabase.objects.filter(pk=web.pk).update(last_visited_at=now - timedelta(hours=1))

    started = start_job(JOBS[JobCode.UPLOAD]).run

    steps = {step.pk: step.place for step in started.steps.with_place()}
    assert [steps[step] for step in enqueued_steps()] == ["seattle", "web", "houston"]


def test_slow_channels_never_occupy_a_second_worker(houston, seattle, web):
    ChannelDatabase.objects.update(last_duration_s=60)
    ChannelDatabase.objects.filter(pk=web.pk).update(last_duration_s=0.1)

    make_schedule("pipeline", is_continuous=True)

    start_for_slow_channels()

    slow = JobRun.objects.get()
    assert slow.started_by == StartedBy.SCHEDULE
    for place in ("houston", "seattle"):
        [turn] = waiting_steps(slow.pk)
        assert enqueued_steps()[-1] == turn
        assert RunStep.objects.get(pk=turn).place == place
        execute(str(turn))
    assert JobRun.objects.get().has_ended


# Chunks, heartbeats and takeovers


@pytest.fixture
def held(houston) -> RunStep:
    """A step that a worker, dead by now, has claimed."""
    step = claim_step(waiting_steps(create_run(JOBS[JobCode.UPLOAD]).run.pk)[0], "worker")
    return step


def test_a_heartbeat_does_not_wait_for_a_chunk_but_takeovers_do(held):
    with Locks() as other, held.chunk():
        held.add(read=1)
        other.fetch_value("UPDATE run_step SET heartbeat_at = now()")
        with pytest.raises(psycopg2.errors.LockNotAvailable):
            other.fetch_value("SELECT id FROM run_step FOR UPDATE NOWAIT")


def test_a_chunk_leaves_the_row_of_the_run_alone(held):
    with Locks() as other, held.chunk():
        held.add(read=1)
        other.fetch_value("SELECT id FROM job_run FOR UPDATE NOWAIT")


def test_a_step_claimed_again_keeps_its_counts_under_a_higher_number(held):
    with held.chunk():
        held.add(read=7)

    recover_lost_steps()
    again = claim_step(held.pk, "another")

    assert (again.pk, again.counts, again.losses) == (held.pk, {"read": 7}, 1)
    assert again.fencing_no > held.fencing_no
    with pytest.raises(RunLost), held.chunk():
        pytest.fail("the chunk was begun")


@pytest.mark.fault("F-05")  # a process is frozen longer than its lease
def test_a_worker_beyond_its_lease_is_disconnected_and_replaced(held):
    with Locks() as frozen:
        past = timezone.now() - timedelta(seconds=1)
        RunStep.objects.update(worker=frozen.worker, lease_until=past)

        recover_lost_steps()

        assert statuses(held.run) == ["queued"]
        with pytest.raises(psycopg2.OperationalError):
            frozen.fetch_value("SELECT 1")


def test_an_outcome_is_not_written_to_another_worker_s_step(held):
    recover_lost_steps()
    claim_step(held.pk, "another")

    held.finish("failed")

    assert statuses(held.run) == ["running"]


# Here and now


def test_a_command_shares_a_run_with_workers(houston, seattle, trial, workers):
    both = threading.Barrier(2)
    job = trial(Step("meet", lambda _: both.wait(30), per="database"))
    here = workers(run_inline, job)
    until(lambda: RunStep.objects.filter(status="running").exists())
    [started] = JobRun.objects.all()

    execute(str(waiting_steps(started.pk)[0]))

    assert here.result(60)["outcome"] == "nothing_to_do"
    assert len(set(started.steps.values_list("worker", flat=True))) == 2


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_stops_a_run_and_what_was_committed_stays(houston, seattle, trial):
    def work(step: RunStep) -> None:
        with step.chunk():
            step.add(converted=1)
        signal.raise_signal(signal.SIGINT)
        with step.chunk():
            Company.objects.create(code="BB", name="not written")

    result = run_inline(trial(Step("work", work, per="database")))

    assert (result["outcome"], result["counts"]) == ("cancelled", {"converted": 1})
    assert [step["outcome"] for step in result["steps"]] == ["cancelled", "cancelled"]
    assert not Company.objects.filter(code="BB").exists()


# Cancelling


def test_cancelling_stops_all_workers_of_the_run(houston, seattle, trial, workers):
    both, cancelled = threading.Barrier(3), threading.Event()

    def work(step: RunStep) -> None:
        both.wait(30)
        cancelled.wait(30)
        with step.chunk():
            Company.objects.create(code="BB", name="not written")

    run = create_run(trial(Step("work", work, per="database"))).run
    executions = [workers(execute, str(step)) for step in waiting_steps(run.pk)]
    both.wait(30)
    cancel_run(run.pk)
    assert is_running(run)
    cancelled.set()
    for execution in executions:
        execution.result(60)

    assert statuses(run) == ["cancelled", "cancelled"]
    assert JobRun.objects.get().status == "cancelled"
    assert not Company.objects.filter(code="BB").exists()


def test_a_stopping_run_sends_a_channel_nothing_more(houston, seattle, monkeypatch):
    write_traffic(houston, customers=3, seed=1)
    run(JobCode.UPLOAD)
    run("sync-customers")
    started = create_run(JOBS[JobCode.DOWNLOAD]).run
    claim = executing.claim_turn

    def cancel(*args: Any) -> Iterator[RunStep]:
        for row in claim(*args):
            cancel_run(started.pk)
            yield row

    monkeypatch.setattr(executing, "claim_turn", cancel)
    carry_out(started)

    started.refresh_from_db()
    assert (started.status, started.counts) == ("cancelled", {})
    for shop in (houston, seattle):
        assert query(shop, "SELECT count(*) FROM account_map") == [(0,)]
