"""The ledger is the truth, the queue a doorbell: starting, claiming, healing, cancelling."""

import json
import threading
import zlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import django_rq
import pytest
import redis
import rq
from django.db import DatabaseError, connection, connections, transaction
from django.utils import timezone
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq.serializers import JSONSerializer
from rq.webhook import Webhook

from stores.channeldb.connect.connection import connect
from stores.hqdb.locks import Locks, heartbeat, leader_lock
from stores.hqdb.sql import fetch
from stores.jobs import queue as job_queue
from stores.jobs import scheduler, stalled
from stores.jobs.catalog import JOBS, Job, Step
from stores.jobs.claim import claim_steps
from stores.jobs.outcome import outcome_of, sum_counts
from stores.jobs.plan import plan_steps
from stores.jobs.run import execute
from stores.jobs.stalled import MAX_ATTEMPTS, mark_lost
from stores.jobs.start import create_run as create_run
from stores.jobs.start import start_job
from stores.models import (
    AsyncCustomer,
    Company,
    CustomerDelivery,
    GuidMap,
    Incident,
    JobRun,
    Quarantine,
    RunStep,
    UploadSession,
)
from stores.models.run import RunLost
from stores.traffic import write_traffic
from tests.support.make import make_customer, make_event, run
from tests.support.processes import manage, running, until

PIPELINE = JOBS["pipeline"]


@pytest.fixture
def queue(hq):
    """The real queue, empty."""
    return django_rq.get_queue(job_queue.QUEUE)


@pytest.fixture
def queue_away(monkeypatch):
    """A queue whose server does not answer."""
    with monkeypatch.context() as meanwhile:
        at_once = Retry(NoBackoff(), 0)
        nowhere = redis.Redis(unix_socket_path="/nowhere/valkey.sock", retry=at_once)
        away = rq.Queue(job_queue.QUEUE, connection=nowhere)
        meanwhile.setattr(job_queue.django_rq, "get_queue", lambda *_, **__: away)
        yield meanwhile


@pytest.fixture
def job_of(houston, monkeypatch) -> Callable[..., Job]:
    """Makes a job whose steps, one after the other, are these functions."""

    def make(*works: Callable[[RunStep], None]) -> Job:
        steps = tuple(
            Step(work.__name__, lambda step, _, work=work: work(step), per="company")
            for work in works
        )
        job = Job("trial", "Tries what steps may do.", steps)
        monkeypatch.setitem(JOBS, job.code, job)
        return job

    return make


def claimed(job: Job = PIPELINE) -> JobRun:
    """A run that a process has claimed; unless somebody holds its lock, that process is dead."""
    claimed = JobRun.objects.claim(create_run(job).run.pk)
    assert claimed is not None
    return claimed


def status_of(run: JobRun) -> str:
    return JobRun.objects.get(pk=run.pk).status


def in_thread(work: Callable[[], Any]) -> Any:
    """What a function returns in a thread, and so on connections, of its own."""
    found = []

    def call() -> None:
        try:
            found.append(work())
        finally:
            connections.close_all()

    thread = threading.Thread(target=call)
    thread.start()
    thread.join(60)
    return found[0]


# Start


def test_a_run_is_rung_for_only_once_its_row_is_committed(queue):
    with transaction.atomic():
        started = start_job(PIPELINE)
        assert queue.job_ids == []

    assert queue.job_ids == [str(started.run.pk)]
    assert JobRun.objects.get().rung_at is not None


def test_a_start_that_is_rolled_back_is_not_rung_for(queue):
    with transaction.atomic():
        start_job(PIPELINE)
        transaction.set_rollback(True)

    assert queue.job_ids == []
    assert not JobRun.objects.exists()


def test_a_second_start_of_the_same_job_and_scope_answers_with_the_live_run(queue):
    first = start_job(PIPELINE, channels=["web", "houston"])
    second = start_job(PIPELINE, channels=["houston", "web", "web"])

    assert (second.run, second.is_new) == (first.run, False)
    assert len(queue.job_ids) == 1


def test_another_scope_or_job_is_another_run(hq):
    runs = [
        create_run(PIPELINE),
        create_run(PIPELINE, channels=["web"]),
        create_run(PIPELINE, companies=["USRT"]),
        create_run(JOBS["P-0001"]),
    ]

    assert all(started.is_new for started in runs)
    assert JobRun.objects.live().count() == 4


def test_of_two_starts_at_the_same_time_one_makes_the_run(hq):
    barrier = threading.Barrier(2)
    found = []

    def start() -> None:
        barrier.wait(30)
        found.append(create_run(PIPELINE))
        connections.close_all()

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sorted(started.is_new for started in found) == [False, True]
    assert found[0].run == found[1].run == JobRun.objects.get()


def test_while_a_run_is_executed_a_start_answers_busy_and_runs_nothing(houston):
    make_customer(houston)
    live = claimed()
    with Locks() as other:
        assert other.acquire(leader_lock(live.pk))

        found = run("pipeline")

    assert (found["outcome"], found["run"]) == ("busy", str(live.pk))
    assert "is already running" in found["message"]
    assert not AsyncCustomer.objects.exists()


def test_a_run_whose_process_died_is_marked_lost_at_once_and_a_successor_follows(houston):
    make_customer(houston)
    dead = claimed()

    found = run("pipeline")

    assert found["outcome"] == "succeeded"
    assert status_of(dead) == "lost"
    assert JobRun.objects.get(pk=found["run"]).successor_of == dead


def test_a_lost_run_leaves_no_step_and_no_session_open(houston):
    dead = claimed()
    plan_steps(dead)
    claim_steps(dead, PIPELINE.steps[0], "gone")
    UploadSession.objects.create(run=dead, database=houston, status="available")

    mark_lost(dead)

    assert set(dead.steps.values_list("status", flat=True)) == {"lost"}
    assert UploadSession.objects.get().status == "upload_failed"


def test_run_here_executes_the_run_that_waits_for_a_worker_itself(houston, queue):
    make_customer(houston)
    waiting = start_job(PIPELINE).run

    found = run("pipeline")

    assert (found["run"], found["outcome"]) == (str(waiting.pk), "succeeded")
    assert JobRun.objects.count() == 1


# Claim and fence


def test_a_claim_is_won_once(hq):
    waiting = create_run(PIPELINE).run
    barrier = threading.Barrier(2)
    found = []

    def claim() -> None:
        barrier.wait(30)
        found.append(JobRun.objects.claim(waiting.pk))
        connections.close_all()

    threads = [threading.Thread(target=claim) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len([run for run in found if run is not None]) == 1


@pytest.mark.fault("F-45")
def test_however_the_server_plans_a_claim_every_channel_is_visited(houston, popup):
    make_customer(houston, "Ann")
    make_customer(popup, "Bo")
    with connection.cursor() as cursor:
        cursor.execute(
            """SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_material = off;
               SET enable_hashagg = off; SET enable_sort = off; SET enable_memoize = off;
               SET enable_indexscan = off; SET enable_bitmapscan = off"""
        )
        try:
            found = run("P-0001")
        finally:
            cursor.execute("RESET ALL")

    assert [step["counts"].get("staged") for step in found["steps"]] == [1, 1]


def test_a_second_ring_for_a_run_does_nothing(houston):
    waiting = create_run(PIPELINE).run
    execute(str(waiting.pk))
    make_customer(houston)

    execute(str(waiting.pk))

    assert status_of(waiting) == "nothing_to_do"
    assert not AsyncCustomer.objects.exists()


def test_every_claim_draws_a_higher_fencing_number(hq):
    first = claimed()
    mark_lost(first)
    second = claimed()

    assert second.fencing_no > first.fencing_no


def test_a_run_that_was_taken_over_writes_nothing_any_more(houston):
    dead = claimed()
    plan_steps(dead)
    [step] = claim_steps(dead, PIPELINE.steps[0], "gone")
    mark_lost(dead)

    with pytest.raises(RunLost), step.chunk():
        pytest.fail("the chunk was begun")


def test_a_run_taken_over_in_the_middle_of_a_step_stops_there_and_stays_lost(job_of):
    def first(step: RunStep) -> None:
        with step.chunk():
            Company.objects.create(code="AA", name="kept")
        in_thread(lambda: mark_lost(JobRun.objects.get(pk=step.run_id)))
        with step.chunk():
            Company.objects.create(code="BB", name="not written")

    def second(step: RunStep) -> None:
        pytest.fail("the next step was begun")

    found = run(job_of(first, second))

    assert found["outcome"] == "lost"
    assert Company.objects.filter(code="AA").exists()
    assert not Company.objects.filter(code="BB").exists()


def test_the_heartbeat_renews_the_lease_of_a_long_step(hq, settings):
    settings.RUN_HEARTBEAT_S = 0.01
    live = claimed()

    with Locks() as locks:
        JobRun.objects.update(worker=locks.worker)
        with heartbeat(locks, live.pk):
            until(lambda: JobRun.objects.get().heartbeat_at > live.heartbeat_at, 30)

    assert JobRun.objects.get().lease_until > live.lease_until


# Healing


def test_heal_gives_a_lost_run_a_successor_and_rings_for_it(queue):
    dead = claimed()

    told = stalled.recover_stalled_runs()

    successor = JobRun.objects.get(successor_of=dead)
    assert (status_of(dead), successor.status, successor.attempt) == ("lost", "queued", 2)
    assert queue.job_ids == [str(successor.pk)]
    assert told == [f"{dead} was lost; {successor} follows it."]


def test_heal_leaves_a_run_alone_that_some_process_executes(hq):
    live = claimed()

    with Locks() as other:
        assert other.acquire(leader_lock(live.pk))
        assert stalled.recover_stalled_runs() == []

    assert status_of(live) == "running"


def test_two_healers_at_once_make_one_successor(hq):
    claimed()
    barrier = threading.Barrier(2)

    def heal() -> None:
        barrier.wait(30)
        stalled.recover_stalled_runs()
        connections.close_all()

    threads = [threading.Thread(target=heal) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert JobRun.objects.count() == 2


@pytest.mark.fault("F-37")
def test_heal_rings_again_for_a_run_of_which_the_queue_lost_the_message(queue):
    waiting = start_job(PIPELINE).run
    queue.connection.flushall()
    long_ago = timezone.now() - timedelta(minutes=1)
    JobRun.objects.update(rung_at=long_ago, created_at=long_ago)

    assert stalled.recover_stalled_runs() == [f"Enqueued {waiting} again."]

    assert queue.job_ids == [str(waiting.pk)]
    assert stalled.recover_stalled_runs() == []


def test_heal_gives_up_after_the_last_attempt(hq):
    run = claimed()
    for attempt in range(2, MAX_ATTEMPTS + 1):
        stalled.recover_stalled_runs()
        run = JobRun.objects.claim(JobRun.objects.get(attempt=attempt).pk)

    stalled.recover_stalled_runs()

    assert status_of(run) == "lost"
    assert JobRun.objects.count() == MAX_ATTEMPTS
    [incident] = Incident.objects.open()
    assert (incident.kind, incident.detail) == ("run_given_up", {"run": str(run.pk)})


def test_heal_does_not_follow_a_lost_run_that_was_asked_to_stop(hq):
    dead = claimed()
    dead.request_cancel()

    stalled.recover_stalled_runs()

    assert status_of(dead) == "lost"
    assert JobRun.objects.count() == 1


# Cancel


def test_cancelling_stops_at_the_next_chunk_and_leaves_what_was_committed(job_of):
    def first(step: RunStep) -> None:
        with step.chunk():
            Company.objects.create(code="AA", name="kept")
            step.add(converted=1)
        in_thread(lambda: JobRun.objects.get(pk=step.run_id).request_cancel())
        with step.chunk():
            Company.objects.create(code="BB", name="not written")
            step.add(converted=1)

    def second(step: RunStep) -> None:
        pytest.fail("the next step was begun")

    found = run(job_of(first, second))

    assert (found["outcome"], found["counts"]) == ("cancelled", {"converted": 1})
    assert [step["outcome"] for step in found["steps"]] == ["cancelled", "cancelled"]
    assert set(Company.objects.values_list("code", flat=True)) == {"USRT", "AA"}


def test_cancelling_a_run_that_waits_ends_it_at_once(houston):
    make_customer(houston)
    waiting = create_run(PIPELINE).run

    assert waiting.request_cancel()
    execute(str(waiting.pk))

    assert status_of(waiting) == "cancelled"
    assert not AsyncCustomer.objects.exists()


def test_a_run_that_has_ended_cannot_be_cancelled(hq):
    ended = JobRun.objects.get(pk=run("pipeline")["run"])

    assert not ended.request_cancel()

    assert status_of(ended) == "nothing_to_do"


# Ledger


@pytest.mark.slow
def test_the_counts_in_the_ledger_are_those_of_the_committed_rows(store, seattle):
    for name in ("Ann", "Bo", "Cy"):
        guid = make_customer(store, name)
        make_event("address", store, async_account=guid)
    make_customer(store, "Di", email="no address")

    found = run("pipeline")

    [session] = UploadSession.objects.all()
    assert (session.read, session.staged, session.quarantined) == (7, 6, 1)
    assert found["counts"] == {
        "read": 7,
        "staged": 6,
        "quarantined": Quarantine.objects.count(),
        "converted": GuidMap.objects.filter(run=found["run"]).count(),
        "distributed": CustomerDelivery.objects.filter(session__run=found["run"]).count(),
    }
    assert JobRun.objects.get().counts == found["counts"]
    assert sum_counts(list(RunStep.objects.all())) == found["counts"]


def test_a_chunk_that_is_rolled_back_is_not_counted(job_of):
    def work(step: RunStep) -> None:
        with step.chunk():
            step.add(converted=1)
        with step.chunk():
            step.add(converted=10)
            raise DatabaseError

    found = run(job_of(work))

    assert (found["outcome"], found["counts"]) == ("failed", {"converted": 1})


def test_a_crashing_step_does_not_stop_the_others_and_names_nobody(job_of):
    somebody = "@".join(["ann.lee", "example.com"])

    def crash(step: RunStep) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT %s::date", [somebody])

    def go_on(step: RunStep) -> None:
        with step.chunk():
            step.add(converted=1)

    found = run(job_of(crash, go_on))

    assert found["outcome"] == "partly"
    assert [step["outcome"] for step in found["steps"]] == ["failed", "succeeded"]
    detail = JobRun.objects.get().error
    assert "in crash" in detail
    assert "InvalidDatetimeFormat 22007" in detail
    assert somebody not in json.dumps(found) + detail


@pytest.mark.parametrize(
    ("steps", "outcome"),
    [
        ([], "nothing_to_do"),
        (["nothing_to_do", "nothing_to_do"], "nothing_to_do"),
        (["nothing_to_do", "succeeded"], "succeeded"),
        (["failed", "failed"], "failed"),
        (["busy", "busy"], "busy"),
        (["busy", "failed"], "failed"),
        (["failed", "nothing_to_do"], "partly"),
        (["busy", "succeeded"], "partly"),
        (["busy", "failed", "succeeded"], "partly"),
    ],
)
def test_the_outcome_of_a_run_follows_from_its_steps(steps, outcome):
    assert outcome_of([RunStep(status=status) for status in steps]) == outcome


# Rehearsal


def contents_of_hq() -> dict[str, list[Any]]:
    """Every row of every table of HQ."""
    with connection.cursor() as cursor:
        found = {}
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT t::text FROM "{table}" t ORDER BY 1')  # noqa: S608
            found[table] = cursor.fetchall()
        return found


def contents_of(database) -> dict[str, list[Any]]:
    """Every row of every table of a channel; bytes where it is a file, for some are no text."""
    with connect(database) as alias:
        channel = connections[alias]
        with channel.cursor() as cursor:
            tables = channel.introspection.table_names(cursor)
            if channel.vendor == "sqlite":
                channel.connection.text_factory = bytes
            rows = "t::text" if channel.vendor == "postgresql" else "*"
            found = {}
            for table in tables:
                cursor.execute(f'SELECT {rows} FROM "{table}" t ORDER BY 1')  # noqa: S608
                found[table] = cursor.fetchall()
            return found


@pytest.mark.slow
def test_a_dry_run_writes_no_row_and_counts_what_the_real_run_then_does(store, seattle):
    write_traffic(store, customers=10, seed=1)
    run("pipeline")
    write_traffic(store, customers=90, edits=9, seed=2, faulty=0.5)
    make_customer(seattle, "Bo")
    before = contents_of_hq(), contents_of(store), contents_of(seattle)

    rehearsed = run("pipeline", dry_run=True)

    assert (contents_of_hq(), contents_of(store), contents_of(seattle)) == before
    real = run("pipeline")
    assert (rehearsed["outcome"], rehearsed["counts"]) == (real["outcome"], real["counts"])
    assert [step["counts"] for step in rehearsed["steps"]] == [
        step["counts"] for step in real["steps"]
    ]
    assert {"staged", "quarantined", "converted", "updated", "waiting", "distributed"} <= set(
        real["counts"]
    )


def test_a_dry_run_beside_a_live_run_is_busy_and_leaves_it_alone(houston):
    live = claimed()
    with Locks() as other:
        assert other.acquire(leader_lock(live.pk))

        assert run("pipeline", dry_run=True)["outcome"] == "busy"

    assert status_of(live) == "running"


# Queue and worker


def message_of(queue: rq.Queue, run: JobRun) -> dict[str, bytes]:
    raw = queue.connection.hgetall(rq.job.Job.key_for(str(run.pk)))
    return {field.decode(): value for field, value in raw.items()}


def test_the_message_carries_the_id_of_the_run_and_nothing_else(houston, queue):
    started = start_job(PIPELINE, channels=["houston"])

    message = message_of(queue, started.run)

    called = json.loads(zlib.decompress(message.pop("data")))
    assert called == ["stores.jobs.run.execute", None, [str(started.run.pk)], {}]
    assert not any(b"houston" in value for value in message.values())


def test_without_the_queue_a_start_succeeds_and_the_run_waits(hq, queue_away):
    started = start_job(PIPELINE)

    assert started.is_new
    assert status_of(started.run) == "queued"
    assert JobRun.objects.get().rung_at is None


@pytest.mark.fault("F-39")
def test_a_run_started_without_the_queue_is_rung_for_once_it_is_back(queue, queue_away):
    waiting = start_job(PIPELINE).run
    JobRun.objects.update(created_at=timezone.now() - timedelta(minutes=1))
    assert stalled.recover_stalled_runs() == []

    queue_away.undo()
    stalled.recover_stalled_runs()

    assert queue.job_ids == [str(waiting.pk)]


@pytest.mark.slow
def test_a_worker_executes_what_was_rung_for(store, queue):
    make_customer(store)
    waiting = start_job(PIPELINE).run

    ended = manage("worker", "--burst")

    assert ended.stderr == ""
    assert ended.returncode == 0
    assert status_of(waiting) == "succeeded"
    assert GuidMap.objects.count() == 1


@pytest.mark.slow
def test_a_message_that_asks_for_something_else_runs_nothing(queue, tmp_path):
    queue.enqueue("os.mkdir", str(tmp_path / "made"))
    waiting = start_job(PIPELINE).run

    ended = manage("worker", "--burst")

    assert ended.returncode == 0
    assert not (tmp_path / "made").exists()
    assert Incident.objects.get().kind == "message_refused"
    assert status_of(waiting) == "nothing_to_do"


@pytest.mark.slow
def test_what_a_message_asks_for_besides_a_run_is_not_called(queue):
    hook = rq.Callback("builtins.print")
    asked = {"on_success": hook, "on_failure": hook, "on_stopped": hook}
    asked["webhooks"] = [Webhook("http://localhost/", "finished")]
    queue.enqueue("stores.jobs.run.execute", "no run", **asked)
    message = queue.enqueue("stores.jobs.run.execute", str(uuid4()), **asked)

    read = job_queue.RunMessage.fetch(
        message.id, connection=queue.connection, serializer=JSONSerializer
    )
    ended = manage("worker", "--burst")

    assert (read.success_callback, read.failure_callback, read.stopped_callback) == (None,) * 3
    assert read.webhooks == []
    assert ended.stdout == ""


# Scheduler


class Impatient(threading.Event):
    """Ends a scheduler after some rounds, without the pause between them."""

    def __init__(self, rounds: int) -> None:
        super().__init__()
        self.rounds = rounds

    def wait(self, timeout: float | None = None) -> bool:
        self.rounds -= 1
        if self.rounds <= 0:
            self.set()
        return super().wait(0.001)


@pytest.mark.fault("F-08")
def test_of_two_schedulers_one_acts(hq, monkeypatch):
    acted = []
    monkeypatch.setattr(scheduler, "start_pipeline", lambda: acted.append(threading.get_ident()))
    barrier = threading.Barrier(2)

    def schedule_some_rounds() -> None:
        with Locks() as locks:
            barrier.wait(30)
            scheduler.run_as_leader(locks, Impatient(20), print)
            barrier.wait(30)
        connections.close_all()

    threads = [threading.Thread(target=schedule_some_rounds) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(set(acted)) == 1


def test_when_the_acting_scheduler_dies_the_other_one_takes_over(hq, monkeypatch):
    acted = []
    monkeypatch.setattr(scheduler, "start_pipeline", lambda: acted.append("second"))
    with Locks() as first, Locks() as second:
        assert first.acquire("scheduler")
        scheduler.run_as_leader(second, Impatient(3), print)
        assert acted == []
        first.connection.close()
        # The server notices the end of a connection a moment later.
        until(lambda: not fetch("SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted"))

        scheduler.run_as_leader(second, Impatient(3), print)

    assert set(acted) == {"second"}


@pytest.mark.slow
def test_a_scheduler_starts_the_pipeline_and_a_worker_runs_it(houston, queue):
    make_customer(houston)

    with running("manage.py", "scheduler"):
        until(JobRun.objects.filter(started_by="schedule", rung_at__isnull=False).exists)
    manage("worker", "--burst")

    assert JobRun.objects.get().status == "succeeded"
