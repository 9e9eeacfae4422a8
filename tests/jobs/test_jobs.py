"""The ledger is the truth, the queue carries ids: starting, claiming, recovering, cancelling.

From conftest.py: `houston` is a store on PostgreSQL; `seattle` is another store on PostgreSQL;
`popup` is one on SQLite; `store` is a store, once on PostgreSQL and once on SQLite.
"""

import json
import threading
import zlib
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import django_rq
import pytest
import redis
import rq
from django.db import DatabaseError, connection, connections, transaction
from redis.backoff import NoBackoff
from redis.retry import Retry
from rq.serializers import JSONSerializer
from rq.webhook import Webhook

from stores.channeldb.connect.connection import connect
from stores.channeldb.connect.hosts import addresses_of
from stores.hqdb.locks import Locks, leases_renewed, lock_holders
from stores.jobs import queue as job_queue
from stores.jobs import scheduler
from stores.jobs.catalog import JOBS, Job, Step
from stores.jobs.claim import claim_step
from stores.jobs.outcome import outcome_of, sum_counts
from stores.jobs.queue import enqueued_steps
from stores.jobs.run import execute
from stores.jobs.stages import cancel_run, waiting_steps
from stores.jobs.stalled import MAX_LOSSES, give_back, recover_lost_steps, run_maintenance
from stores.jobs.start import create_run, start_job
from stores.models import (
    AsyncCustomer,
    ChannelDatabase,
    Company,
    CustomerDelivery,
    GuidMap,
    Incident,
    JobRun,
    Quarantine,
    RunStep,
    UploadSession,
)
from stores.models.job import JobCode
from stores.models.run import RunLost
from stores.traffic import write_traffic
from tests.support.make import carry_out, make_customer, make_event, make_schedule, run
from tests.support.name_server import IS_GLIBC, silent_name_server
from tests.support.processes import dying_at, manage, running, until

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


def claimed(job: Job = PIPELINE, worker: str = "dead") -> RunStep:
    """The first step of a run; unless the worker's lock is held, its process is dead."""
    step = claim_step(waiting_steps(create_run(job).run.pk)[0], worker)
    return step


def status_of(run: JobRun) -> str:
    return JobRun.objects.get(pk=run.pk).status


def statuses(run: JobRun) -> list[str]:
    return list(run.steps.order_by("position").values_list("status", flat=True))


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


def at_once(work: Callable[[], Any]) -> list[Any]:
    """What two threads, each with connections of its own, return that do the same at once."""
    barrier, found = threading.Barrier(2), []

    def call() -> None:
        barrier.wait(30)
        found.append(work())
        connections.close_all()

    threads = [threading.Thread(target=call) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


# Start


def test_a_run_is_planned_when_it_starts(houston, popup):
    started = create_run(PIPELINE).run

    steps = started.steps.order_by("position")
    assert [(step.stage, step.step, step.place, step.status) for step in steps] == [
        (1, "upload", "houston", "queued"),
        (1, "upload", "popup", "queued"),
        (2, "convert", "USRT", "queued"),
        (3, "download", "houston", "queued"),
        (3, "download", "popup", "queued"),
    ]
    assert started.stage == 1


def test_a_run_without_a_channel_to_visit_ends_at_once(queue):
    started = start_job(PIPELINE)

    assert (started.is_new, started.run.status) == (True, "nothing_to_do")
    assert queue.job_ids == []


def test_first_steps_are_enqueued_after_their_rows_are_committed(houston, popup, queue):
    with transaction.atomic():
        started = start_job(PIPELINE)
        assert queue.job_ids == []

    uploads = started.run.steps.filter(step="upload").order_by("position")
    assert enqueued_steps() == [step.pk for step in uploads]


def test_of_a_start_that_is_rolled_back_nothing_is_enqueued(houston, queue):
    with transaction.atomic():
        start_job(PIPELINE)
        transaction.set_rollback(True)

    assert queue.job_ids == []
    assert not JobRun.objects.exists()


def test_starting_the_same_job_again_returns_the_live_run(houston, queue):
    first = start_job(PIPELINE, channels=["web", "houston"])
    second = start_job(PIPELINE, channels=["houston", "web", "web"])

    assert (second.run, second.is_new) == (first.run, False)
    assert len(queue.job_ids) == 1


def test_another_scope_or_job_is_another_run(houston):
    runs = [
        create_run(PIPELINE),
        create_run(PIPELINE, channels=["houston"]),
        create_run(PIPELINE, companies=["USRT"]),
        create_run(JOBS[JobCode.UPLOAD]),
    ]

    assert all(started.is_new for started in runs)
    assert JobRun.objects.live().count() == 4


def test_two_starts_at_once_create_one_run(houston):
    results = at_once(lambda: create_run(PIPELINE))

    assert sorted(started.is_new for started in results) == [False, True]
    assert results[0].run == results[1].run == JobRun.objects.get()
    assert RunStep.objects.count() == 3


def test_a_start_beside_an_executed_run_is_busy(houston):
    make_customer(houston)
    with Locks() as other:
        live = claimed(worker=other.worker).run

        result = run("pipeline")

    assert (result["outcome"], result["run"]) == ("busy", str(live.pk))
    assert "is already running" in result["message"]
    assert not AsyncCustomer.objects.exists()


def test_a_run_whose_worker_died_continues_at_once(houston):
    make_customer(houston)
    dead = claimed()

    result = run("pipeline")

    assert (result["outcome"], result["run"]) == ("succeeded", str(dead.run_id))
    assert JobRun.objects.count() == 1


def test_running_inline_executes_a_run_that_waits_for_a_worker(houston, queue):
    make_customer(houston)
    waiting = start_job(PIPELINE).run

    result = run("pipeline")

    assert (result["run"], result["outcome"]) == (str(waiting.pk), "succeeded")
    assert JobRun.objects.count() == 1


def test_what_is_done_here_is_not_enqueued(houston, queue):
    make_customer(houston)

    assert run("pipeline")["outcome"] == "succeeded"

    assert queue.job_ids == []


# Claim and fence


def test_a_claim_is_won_once(houston):
    [waiting] = waiting_steps(create_run(JOBS[JobCode.UPLOAD]).run.pk)

    results = at_once(lambda: claim_step(waiting, "worker"))

    assert sorted(row is None for row in results) == [False, True]


@pytest.mark.fault("F-45")  # a message arrives several times
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
            result = run(JobCode.UPLOAD)
        finally:
            cursor.execute("RESET ALL")

    assert [step["counts"].get("staged") for step in result["steps"]] == [1, 1]


@pytest.mark.fault("F-45")  # a message arrives several times
def test_a_second_message_for_a_step_does_nothing(houston):
    started = create_run(JOBS[JobCode.UPLOAD]).run
    [step] = waiting_steps(started.pk)
    execute(str(step))
    make_customer(houston)

    execute(str(step))

    assert status_of(started) == "nothing_to_do"
    assert not AsyncCustomer.objects.exists()


def test_a_step_of_a_later_stage_cannot_be_claimed_yet(houston):
    started = create_run(PIPELINE).run

    assert claim_step(started.steps.get(step="convert").pk, "early") is None
    assert set(statuses(started)) == {"queued"}


def test_every_claim_draws_a_higher_fencing_number(houston):
    first = claimed()
    recover_lost_steps()
    again = claim_step(first.pk, "worker")

    assert again.fencing_no > first.fencing_no


def test_a_step_that_was_taken_over_writes_nothing_any_more(houston):
    step = claimed()
    recover_lost_steps()

    with pytest.raises(RunLost), step.chunk():
        pytest.fail("the chunk was begun")


def test_a_step_reclaimed_midway_stops_and_is_queued_again(job_of):
    def first(step: RunStep) -> None:
        with step.chunk():
            Company.objects.create(code="AA", name="kept")
        in_thread(lambda: give_back(RunStep.objects.with_place().get(pk=step.pk)))
        with step.chunk():
            Company.objects.create(code="BB", name="not written")

    def second(step: RunStep) -> None:
        pytest.fail("the next step was begun")

    started = create_run(job_of(first, second)).run
    execute(str(waiting_steps(started.pk)[0]))

    assert statuses(started) == ["queued", "queued"]
    assert Company.objects.filter(code="AA").exists()
    assert not Company.objects.filter(code="BB").exists()


def test_the_heartbeat_renews_the_lease_of_a_long_step(houston, settings):
    settings.RUN_HEARTBEAT_S = 0.01

    with Locks() as locks:
        step = claimed(worker=locks.worker)
        with leases_renewed(locks):
            until(lambda: RunStep.objects.get(pk=step.pk).heartbeat_at > step.heartbeat_at, 30)

    assert RunStep.objects.get(pk=step.pk).lease_until > step.lease_until


@pytest.mark.slow
@pytest.mark.skipif(not IS_GLIBC, reason="only glibc's resolver can be made slow")
@pytest.mark.fault("F-42")  # a name does not resolve
def test_a_slow_resolver_costs_no_lease(houston, settings):
    settings.RUN_HEARTBEAT_S = 0.1

    with Locks() as locks, silent_name_server():
        step = claimed(worker=locks.worker)
        with leases_renewed(locks):
            assert addresses_of("slow.example.com") == []

    renewed = RunStep.objects.get(pk=step.pk)
    assert renewed.heartbeat_at - step.heartbeat_at > timedelta(seconds=1.5)


# Recovery


def test_a_lost_step_waits_again_and_is_enqueued(queue, houston):
    lost = claimed()
    UploadSession.objects.create(run=lost.run, database=houston, status="available")

    messages = run_maintenance()

    assert messages == [
        f"{lost.run}: upload houston lost its worker and waits again.",
        "Enqueued 1 step again.",
    ]
    assert statuses(lost.run) == ["queued", "queued", "queued"]
    assert (status_of(lost.run), enqueued_steps()) == ("running", [lost.pk])
    assert UploadSession.objects.get().status == "upload_failed"


def test_a_step_whose_worker_lives_is_left_alone(houston):
    with Locks() as other:
        live = claimed(worker=other.worker)

        assert run_maintenance() == []

    assert statuses(live.run)[0] == "running"


def test_two_who_recover_at_once_count_one_loss(houston):
    lost = claimed()

    results = at_once(recover_lost_steps)

    assert sorted(len(sentences) for sentences in results) == [0, 1]
    assert RunStep.objects.get(pk=lost.pk).losses == 1


@pytest.mark.fault("F-37")  # the queue was emptied or is old
def test_a_step_whose_message_was_lost_is_enqueued_again(houston, queue):
    waiting = start_job(PIPELINE).run
    queue.connection.flushall()

    assert run_maintenance() == ["Enqueued 1 step again."]

    assert enqueued_steps() == waiting_steps(waiting.pk)
    assert run_maintenance() == []


def test_maintenance_enqueues_what_a_dead_worker_did_not(houston, queue):
    make_customer(houston)
    started = create_run(PIPELINE).run
    with dying_at("run:before_enqueue"):
        execute(str(waiting_steps(started.pk)[0]))
    assert statuses(started) == ["succeeded", "queued", "queued"]
    assert queue.job_ids == []

    assert run_maintenance() == ["Enqueued 1 step again."]

    assert enqueued_steps() == [started.steps.get(step="convert").pk]
    carry_out(started)
    assert status_of(started) == "succeeded"


def test_a_step_lost_too_often_fails_with_an_incident(houston, popup):
    make_customer(popup)
    started = create_run(PIPELINE).run
    step = started.steps.get(database=houston, step="upload")
    for _ in range(MAX_LOSSES):
        assert claim_step(step.pk, "dead")
        recover_lost_steps()

    assert claim_step(step.pk, "dead") is None
    carry_out(started)

    step.refresh_from_db()
    assert (step.status, step.losses) == ("failed", MAX_LOSSES)
    assert status_of(started) == "partly"
    assert GuidMap.objects.count() == 1
    houston.refresh_from_db()
    assert (houston.failures, houston.failed_step) == (1, "upload")
    [incident] = Incident.objects.open()
    assert (incident.kind, incident.detail) == ("run_given_up", {"run": str(started.pk)})


def test_a_step_that_kills_its_workers_stops_no_other_channel(houston, popup):
    ChannelDatabase.objects.update(last_duration_s=0.01)
    started = create_run(JOBS[JobCode.UPLOAD]).run
    [turn] = waiting_steps(started.pk)
    claim_step(turn, "dead")

    recover_lost_steps()

    assert len(waiting_steps(started.pk)) == 2


def test_a_lost_step_of_a_stopping_run_is_cancelled(houston):
    dead = claimed()
    assert cancel_run(dead.run_id)

    recover_lost_steps()

    assert status_of(dead.run) == "cancelled"
    assert set(statuses(dead.run)) == {"cancelled"}


# Cancel


def test_cancelling_stops_at_the_next_chunk_and_keeps_committed_rows(job_of):
    def first(step: RunStep) -> None:
        with step.chunk():
            Company.objects.create(code="AA", name="kept")
            step.add(converted=1)
        in_thread(lambda: cancel_run(step.run_id))
        with step.chunk():
            Company.objects.create(code="BB", name="not written")
            step.add(converted=1)

    def second(step: RunStep) -> None:
        pytest.fail("the next step was begun")

    result = run(job_of(first, second))

    assert (result["outcome"], result["counts"]) == ("cancelled", {"converted": 1})
    assert [step["outcome"] for step in result["steps"]] == ["cancelled", "cancelled"]
    assert set(Company.objects.values_list("code", flat=True)) == {"USRT", "AA"}


def test_cancelling_a_run_that_waits_ends_it_at_once(houston):
    make_customer(houston)
    waiting = create_run(PIPELINE).run
    steps = waiting_steps(waiting.pk)

    assert cancel_run(waiting.pk)
    execute(str(steps[0]))

    waiting.refresh_from_db()
    assert (waiting.status, str(waiting.message)) == ("cancelled", "Cancelled.")
    assert set(statuses(waiting)) == {"cancelled"}
    assert not AsyncCustomer.objects.exists()


def test_cancelling_a_run_between_two_steps_ends_it_at_once(houston):
    started = create_run(PIPELINE).run
    execute(str(waiting_steps(started.pk)[0]))

    assert cancel_run(started.pk)

    assert status_of(started) == "cancelled"
    assert statuses(started) == ["nothing_to_do", "cancelled", "cancelled"]


def test_downloads_with_nothing_to_do_end_without_a_worker(houston, popup):
    make_customer(houston)
    run("pipeline")
    ChannelDatabase.objects.filter(pk=popup.pk).update(position=0)

    found = JobRun.objects.get(pk=run("pipeline")["run"])

    downloads = found.steps.filter(step="download").order_by("database__channel__code")
    assert [(step.status, step.worker != "") for step in downloads] == [
        ("nothing_to_do", False),
        ("nothing_to_do", True),
    ]
    assert all(step.started_at and step.ended_at for step in downloads)


def test_a_run_that_has_ended_cannot_be_cancelled(hq):
    ended = JobRun.objects.get(pk=run("pipeline")["run"])

    assert not cancel_run(ended.pk)

    assert status_of(ended) == "nothing_to_do"


# Ledger


@pytest.mark.slow
def test_a_step_counts_the_rows_that_were_committed(store, seattle):
    for name in ("Ann", "Bo", "Cy"):
        guid = make_customer(store, name)
        make_event("address", store, async_account=guid)
    make_customer(store, "Di", email="no address")

    result = run("pipeline")

    [session] = UploadSession.objects.all()
    assert (session.read, session.staged, session.quarantined) == (7, 6, 1)
    assert result["counts"] == {
        "read": 7,
        "staged": 6,
        "quarantined": Quarantine.objects.count(),
        "converted": GuidMap.objects.filter(run=result["run"]).count(),
        "distributed": CustomerDelivery.objects.filter(session__run=result["run"]).count(),
    }
    assert JobRun.objects.get().counts == result["counts"]
    assert sum_counts(list(RunStep.objects.all())) == result["counts"]


def test_a_chunk_that_is_rolled_back_is_not_counted(job_of):
    def work(step: RunStep) -> None:
        with step.chunk():
            step.add(converted=1)
        with step.chunk():
            step.add(converted=10)
            raise DatabaseError

    result = run(job_of(work))

    assert (result["outcome"], result["counts"]) == ("failed", {"converted": 1})


def test_a_crashing_step_stops_no_other_and_names_no_customer(job_of):
    somebody = "@".join(["ann.lee", "example.com"])

    def crash(step: RunStep) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT %s::date", [somebody])

    def go_on(step: RunStep) -> None:
        with step.chunk():
            step.add(converted=1)

    result = run(job_of(crash, go_on))

    assert result["outcome"] == "partly"
    assert [step["outcome"] for step in result["steps"]] == ["failed", "succeeded"]
    detail = JobRun.objects.get().error
    assert "in crash" in detail
    assert "InvalidDatetimeFormat 22007" in detail
    assert somebody not in json.dumps(result) + detail


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
        (["failed", "cancelled", "succeeded"], "cancelled"),
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
def test_a_dry_run_writes_nothing_and_counts_like_the_run(store, seattle):
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


def test_a_dry_run_beside_a_live_run_is_busy(houston):
    with Locks() as other:
        live = claimed(worker=other.worker).run

        assert run("pipeline", dry_run=True)["outcome"] == "busy"

    assert status_of(live) == "running"


# Queue and worker


def test_the_message_carries_only_the_id_of_the_step(houston, queue):
    started = start_job(PIPELINE, channels=["houston"])

    [message_id] = queue.job_ids
    raw = queue.connection.hgetall(rq.job.Job.key_for(message_id))
    message = {field.decode(): value for field, value in raw.items()}

    called = json.loads(zlib.decompress(message.pop("data")))
    [step] = waiting_steps(started.run.pk)
    assert called == ["stores.jobs.run.execute", None, [str(step)], {}]
    assert not any(b"houston" in value for value in message.values())


def test_without_the_queue_a_start_succeeds_and_the_run_waits(houston, queue_away):
    started = start_job(PIPELINE)

    assert started.is_new
    assert status_of(started.run) == "queued"


@pytest.mark.fault("F-39")  # the queue is down when a button is pressed
def test_a_run_started_without_the_queue_is_enqueued_later(houston, queue, queue_away):
    waiting = start_job(PIPELINE).run
    assert run_maintenance() == []

    queue_away.undo()
    run_maintenance()

    assert enqueued_steps() == waiting_steps(waiting.pk)


@pytest.mark.fault("F-40")  # the queue dies during a run
def test_without_the_queue_a_step_ends_and_the_next_waits(houston, queue_away):
    make_customer(houston)
    started = create_run(PIPELINE).run

    carry_out(started)

    assert status_of(started) == "succeeded"


@pytest.mark.slow
@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_worker_executes_what_was_enqueued(houston, queue, processes):
    make_customer(houston)
    waiting = start_job(PIPELINE).run

    ended = manage("worker", "--burst", "--processes", processes)

    assert ended.stderr == ""
    assert ended.returncode == 0
    assert status_of(waiting) == "succeeded"
    assert GuidMap.objects.count() == 1


@pytest.mark.slow
def test_a_message_that_asks_for_something_else_runs_nothing(houston, queue, tmp_path):
    queue.enqueue("os.mkdir", str(tmp_path / "made"))
    waiting = start_job(PIPELINE).run

    ended = manage("worker", "--burst", "--processes", "1")

    assert ended.returncode == 0
    assert not (tmp_path / "made").exists()
    assert Incident.objects.get().kind == "message_refused"
    assert status_of(waiting) == "nothing_to_do"


@pytest.mark.slow
def test_a_message_for_anything_but_a_step_is_not_executed(queue):
    hook = rq.Callback("builtins.print")
    asked = {"on_success": hook, "on_failure": hook, "on_stopped": hook}
    asked["webhooks"] = [Webhook("http://localhost/", "finished")]
    queue.enqueue("stores.jobs.run.execute", "no step", **asked)
    message = queue.enqueue("stores.jobs.run.execute", "1", **asked)

    read = job_queue.StepMessage.fetch(
        message.id, connection=queue.connection, serializer=JSONSerializer
    )
    ended = manage("worker", "--burst", "--processes", "1")

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


@pytest.mark.fault("F-08")  # two schedulers run at once
def test_of_two_schedulers_one_acts(hq, monkeypatch):
    acted = []
    monkeypatch.setattr(scheduler, "start_scheduled", lambda: acted.append(threading.get_ident()))
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
    monkeypatch.setattr(scheduler, "start_scheduled", lambda: acted.append("second"))
    with Locks() as first, Locks() as second:
        assert first.acquire("scheduler")
        scheduler.run_as_leader(second, Impatient(3), print)
        assert acted == []
        first.connection.close()
        # The server notices the end of a connection a moment later.
        until(lambda: not lock_holders(["scheduler"]))

        scheduler.run_as_leader(second, Impatient(3), print)

    assert set(acted) == {"second"}


@pytest.mark.slow
def test_a_scheduler_starts_the_pipeline_and_a_worker_runs_it(houston, queue):
    make_customer(houston)
    make_schedule("pipeline", is_continuous=True)

    with running("manage.py", "scheduler"):
        until(JobRun.objects.filter(started_by="schedule").exists)
        until(enqueued_steps)
    manage("worker", "--burst", "--processes", "1")

    assert JobRun.objects.get().status == "succeeded"
