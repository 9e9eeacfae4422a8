"""What may happen to runs: killed, frozen, interrupted; no Redis; rights and clocks that change.

From conftest.py: `houston` is a store on PostgreSQL; `popup` is one on SQLite; `register` registers
a channel by its code.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta

import django_rq
import pytest
from django.contrib.auth.models import Permission, User
from django.db import connections
from django.test import Client
from django.utils import timezone

from portal.embedded import valkey
from stores.hqdb.locks import Locks
from stores.hqdb.sql import database_clock
from stores.jobs import queue
from stores.jobs.catalog import JOBS
from stores.jobs.claim import claim_step, claim_turn
from stores.jobs.plan import databases_to_visit
from stores.jobs.scheduler import start_for_slow_channels, start_scheduled
from stores.jobs.stages import waiting_steps
from stores.jobs.stalled import is_hung, run_maintenance
from stores.jobs.start import create_run, start_job
from stores.jobs.worker import EvictingQueue, require_noeviction
from stores.messages.message import EMPTY, Message
from stores.models import AsyncCustomer, ChannelDatabase, GuidMap, JobRun, RunStep
from stores.models.job import JobCode
from stores.models.run import StartedBy, Visits
from stores.traffic import write_traffic
from tests.support.make import (
    carry_out,
    make_customer,
    make_schedule,
    pass_time,
    query,
    run,
)
from tests.support.processes import (
    ROOT,
    environment,
    is_executed,
    kill,
    pid_of,
    running,
    until,
)

pytestmark = pytest.mark.slow

PIPELINE = JOBS["pipeline"]


@pytest.fixture
def impatient(monkeypatch):
    """Lets processes that the test starts count in seconds what else takes half a minute."""
    for name, seconds in (("RUN_LEASE_S", 3), ("RUN_HEARTBEAT_S", 1), ("DISPATCH_S", 1)):
        monkeypatch.setenv(f"SYNCLINE_{name}", str(seconds))


@pytest.fixture
def large(register) -> ChannelDatabase:
    """A store whose company has many numbers."""
    return register("houston", account_format="C-######", first_number=1)


def fill(shop: ChannelDatabase, customers: int) -> None:
    """Let the channel hold so many new customers, quickly."""
    query(
        shop,
        """INSERT INTO async_customer (event_id, occurred_at, operation, async_account,
                                       customer_type, first_name, last_name)
           SELECT gen_random_uuid(), now(), 'create', gen_random_uuid(), 'person', 'Ann', 'No ' || n
             FROM generate_series(1, %s) n""",
        customers,
    )


def step_at_work(run: JobRun) -> RunStep:
    """A step of the run that a process is at."""
    until(lambda: run.steps.filter(status="running", moved_at__isnull=False).exists())
    return run.steps.filter(status="running").first()


# Processes


# A worker process dies; a worker and its parent die; a process is frozen longer than its lease.
@pytest.mark.fault("F-02", "F-03", "F-05")
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
def test_without_a_scheduler_workers_take_over_lost_steps(large, impatient, end):
    fill(large, 15_000)
    with running("manage.py", "worker", "--processes", "2"):
        until(lambda: queue.count_workers() == 2)
        started = start_job(PIPELINE).run
        until(AsyncCustomer.objects.exists)
        hit = step_at_work(started)
        os.kill(pid_of(hit), end)
        moment = time.monotonic()
        until(lambda: RunStep.objects.get(pk=hit.pk).losses)
        given_back = time.monotonic() - moment
        until(lambda: JobRun.objects.get(pk=started.pk).has_ended)
        if end == signal.SIGSTOP:
            os.kill(pid_of(hit), signal.SIGCONT)
    # A frozen process may hold rows of the channel until it wakes up.
    assert run("pipeline")["outcome"] in ("succeeded", "nothing_to_do")

    assert given_back < 60
    assert JobRun.objects.count() == 2
    assert GuidMap.objects.count() == 15_000
    assert query(large, "SELECT count(*) FROM account_map") == [(15_000,)]


@pytest.mark.fault("F-06")  # a run is asked to stop in a batch
def test_a_worker_asked_to_end_finishes_its_step(large):
    fill(large, 20_000)
    with running("manage.py", "worker", "--processes", "2") as worker:
        until(lambda: queue.count_workers() == 2)
        ledger = start_job(PIPELINE).run
        until(lambda: is_executed(ledger))
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0

    assert list(ledger.steps.values_list("status", "losses").order_by("position")) == [
        ("succeeded", 0),
        ("queued", 0),
        ("queued", 0),
    ]
    assert run("pipeline")["outcome"] == "succeeded"


@pytest.mark.finding(id="A17")
@pytest.mark.fault("F-10")  # a command is interrupted
@pytest.mark.usefixtures("ignored")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_an_interrupted_command_leaves_no_lock_and_can_be_repeated(large, number):
    fill(large, 15_000)
    with running("manage.py", "run_job", "pipeline") as command:
        until(lambda: AsyncCustomer.objects.exists())
        command.send_signal(number)
        assert command.wait(60) != 0

    assert run("pipeline")["outcome"] == "succeeded"
    assert GuidMap.objects.count() == 15_000


@pytest.mark.fault("F-10")  # a command is interrupted
def test_a_command_whose_reader_went_away_still_does_its_work(houston):
    make_customer(houston)
    with running("manage.py", "run_job", "pipeline") as command:
        command.stdout.close()
        assert command.wait(60) != 0

    assert JobRun.objects.get().status == "succeeded"


@pytest.mark.fault("F-07")  # memory is short
def test_a_large_backlog_needs_no_more_memory_than_a_batch(large):
    fill(large, 60_000)

    ended = subprocess.run(
        ["bash", "-c", f"ulimit -v 700000; exec {sys.executable} manage.py run_job P-0001"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    assert AsyncCustomer.objects.count() == 60_000


@pytest.mark.fault("F-46")  # a command is called twice at once
def test_of_two_commands_at_once_one_is_busy(large):
    fill(large, 10_000)
    with (
        running("manage.py", "run_job", "pipeline") as first,
        running("manage.py", "run_job", "pipeline") as second,
    ):
        ended = sorted([first.wait(60), second.wait(60)])

    assert ended == [0, 75]
    assert JobRun.objects.count() == 1


@pytest.mark.fault("F-04")  # the web process dies in a request
@pytest.mark.parametrize("point", ["run:before_enqueue", ""])
def test_a_web_process_that_dies_saves_the_run_or_nothing(houston, point):
    User.objects.create_superuser("boss")
    post = f"""
import django, os, signal
django.setup()
from django.contrib.auth.models import User
from django.db import models
from django.test import Client
from stores import failpoints
from stores.models import JobRun
die = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
if {point!r}:
    failpoints.actions[{point!r}] = die
else:
    models.signals.post_save.connect(die, sender=JobRun)
client = Client()
client.force_login(User.objects.get())
client.post("/runs/start/", {{"job": "pipeline"}}, HTTP_HOST="localhost")
"""
    died = subprocess.run([sys.executable, "-c", post], cwd=ROOT, env=environment(), check=False)
    saved = JobRun.objects.count()
    again = Client()
    again.force_login(User.objects.get())
    again.post("/runs/start/", {"job": "pipeline"})

    assert died.returncode == -signal.SIGKILL
    assert saved == (1 if point else 0)
    assert JobRun.objects.count() == 1


# The queue


@pytest.mark.fault("F-40")  # the queue dies during a run
def test_a_worker_survives_a_queue_that_dies_and_comes_back(houston, impatient, settings):
    make_customer(houston)
    with running("manage.py", "worker", "--processes", "1") as worker:
        until(queue.count_workers)
        kill(django_rq.get_connection("default").info("server")["process_id"])
        valkey.stop(settings.EMBEDDED)
        ledger = start_job(PIPELINE).run
        valkey.start(settings.EMBEDDED)
        until(lambda: JobRun.objects.get(pk=ledger.pk).has_ended)
        assert worker.poll() is None

    assert JobRun.objects.get().status == "succeeded"


@pytest.mark.fault("F-39")  # the queue is down when a button is pressed
def test_without_the_queue_the_button_answers_and_says_so(houston, settings):
    settings.REDIS_URL = "unix:///nowhere/valkey.sock?db=0"
    client = Client()
    client.force_login(User.objects.create_superuser("boss"))
    pressed = time.monotonic()

    answer = client.post("/runs/start/", {"job": "pipeline"}, follow=True)

    assert time.monotonic() - pressed < 3
    assert b"starts automatically when the queue is back" in answer.content
    assert JobRun.objects.get().status == "queued"


@pytest.mark.fault("F-41")  # the queue is full or evicts
def test_production_refuses_a_queue_that_may_drop_messages(hq, settings):
    redis = django_rq.get_connection("default")
    redis.config_set("maxmemory-policy", "allkeys-lru")
    settings.PRODUCTION = True
    try:
        with pytest.raises(EvictingQueue, match="set maxmemory-policy to noeviction"):
            require_noeviction()
    finally:
        redis.config_set("maxmemory-policy", "noeviction")


@pytest.mark.fault("F-41")  # the queue is full or evicts
def test_a_full_queue_costs_a_start_nothing_but_time(houston):
    redis = django_rq.get_connection("default")
    redis.config_set("maxmemory", "1")
    try:
        started = start_job(PIPELINE)
    finally:
        redis.config_set("maxmemory", "0")

    assert (started.is_new, JobRun.objects.get().status) == (True, "queued")
    assert queue.enqueued_steps() == []


@pytest.mark.fault("F-44")  # a button is pressed several times at once
def test_twenty_presses_at_once_make_one_run(houston):
    User.objects.create_superuser("boss")
    barrier, found = threading.Barrier(20), []

    def press() -> None:
        client = Client()
        client.force_login(User.objects.get())
        barrier.wait(30)
        found.append(client.post("/runs/start/", {"job": "pipeline"})["Location"])
        connections.close_all()

    threads = [threading.Thread(target=press) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert found == [JobRun.objects.get().get_absolute_url()] * 20


# Rights


@pytest.mark.fault("F-52")  # a right is withdrawn while a run waits
def test_a_run_whose_starter_lost_the_right_meanwhile_is_refused(houston):
    make_customer(houston)
    ann = User.objects.create_user("ann")
    ann.user_permissions.add(Permission.objects.get(codename="run_job"))
    waiting = create_run(PIPELINE, user=User.objects.get(), started_by=StartedBy.PAGE).run
    ann.user_permissions.clear()

    carry_out(waiting)

    waiting.refresh_from_db()
    assert waiting.status == "failed"
    assert str(waiting.message) == "Refused: ann no longer has permission to start this."
    assert set(waiting.steps.values_list("status", flat=True)) == {"cancelled"}
    assert not AsyncCustomer.objects.exists()


# Fairness and the schedule


def test_schedules_pause_a_failing_channel_briefly_for_two_minutes_and_then_longer(houston, popup):
    ChannelDatabase.objects.filter(pk=houston.pk).update(url="embedded:not_there")
    pauses = []
    for failures in (0, 11, 12, 13):
        ChannelDatabase.objects.filter(pk=houston.pk).update(failures=failures, next_try_at=None)
        run(JobCode.UPLOAD)
        houston.refresh_from_db()
        pauses.append(houston.next_try_at - timezone.now())

    assert houston.failures == 14
    assert max(pauses[:2]) <= timedelta(seconds=12)
    assert pauses[1] < pauses[2] < pauses[3]
    scheduled = create_run(PIPELINE, visits=Visits.QUICK).run
    assert databases_to_visit(scheduled) == [popup]
    scheduled.visits = Visits.ALL
    assert databases_to_visit(scheduled) == [houston, popup]


def test_a_good_visit_ends_the_pause(houston):
    ChannelDatabase.objects.update(
        failures=7, next_try_at=timezone.now(), last_error=Message("quoted", text="Was away.")
    )

    run(JobCode.UPLOAD)

    houston.refresh_from_db()
    assert (houston.failures, houston.next_try_at, houston.last_error) == (0, None, EMPTY)
    assert houston.last_duration_s > 0


def test_schedules_visit_slow_channels_in_runs_of_their_own(houston, popup):
    ChannelDatabase.objects.filter(pk=popup.pk).update(last_duration_s=60)

    make_schedule("pipeline", is_continuous=True)

    start_scheduled()
    start_for_slow_channels()
    start_for_slow_channels()

    quick, slow = JobRun.objects.order_by("job")[1], JobRun.objects.order_by("job")[0]
    assert (quick.job, databases_to_visit(quick)) == ("pipeline", [houston])
    assert (slow.job, databases_to_visit(slow)) == ("P-0001", [popup])
    assert JobRun.objects.count() == 2


def test_a_scheduled_run_leaves_a_channel_s_rest_to_the_next(large, settings):
    settings.VISIT_SHARE_S = 0
    fill(large, 12_000)
    scheduled = create_run(JOBS[JobCode.UPLOAD], visits=Visits.QUICK).run

    carry_out(scheduled)

    assert 0 < AsyncCustomer.objects.count() < 12_000
    run(JobCode.UPLOAD)
    assert AsyncCustomer.objects.count() == 12_000


def test_the_next_pipeline_starts_soon_after_the_last_one(houston, settings):
    make_schedule("pipeline", is_continuous=True)
    start_scheduled()
    [first] = JobRun.objects.all()
    # As if the first run took a minute.
    pass_time(1)
    start_scheduled()
    carry_out(first)
    start_scheduled()
    assert JobRun.objects.count() == 1

    settings.PIPELINE_PAUSE_S = 0
    start_scheduled()

    assert JobRun.objects.count() == 2


def test_slow_channels_are_left_alone_where_no_schedule_visits_often(houston, popup):
    ChannelDatabase.objects.update(last_duration_s=60)
    make_schedule("P-0001", houston, every_minutes=10)
    make_schedule("pipeline", every_minutes=600, now=database_clock() - timedelta(minutes=1))
    start_scheduled()
    for run_of_pipeline in JobRun.objects.filter(job="pipeline"):
        assert databases_to_visit(run_of_pipeline) == [houston, popup]

    for _ in range(2):
        # A visit of a test does not take so long.
        ChannelDatabase.objects.update(last_duration_s=60)
        start_for_slow_channels()
        for slow in JobRun.objects.live().filter(visits=Visits.SLOW):
            carry_out(slow)
        ended = JobRun.objects.filter(visits=Visits.SLOW)
        ended.update(ended_at=database_clock() - timedelta(minutes=1))

    slow_runs = JobRun.objects.filter(visits=Visits.SLOW)
    assert [(run.job, run.channels) for run in slow_runs] == [("P-0001", ["houston"])] * 2


def test_idle_scheduled_runs_are_forgotten_and_all_others_kept(houston, settings):
    settings.IDLE_RUNS_KEPT_S = 0
    run("pipeline")
    idle = create_run(PIPELINE, started_by=StartedBy.SCHEDULE).run
    carry_out(idle)
    write_traffic(houston, customers=1, seed=1)
    active = create_run(PIPELINE, started_by=StartedBy.SCHEDULE).run
    carry_out(active)

    JobRun.objects.delete_idle()

    assert not JobRun.objects.filter(pk=idle.pk).exists()
    assert JobRun.objects.filter(pk=active.pk).exists()
    assert JobRun.objects.count() == 2


def test_a_hung_step_fails_and_its_process_must_end(houston, settings):
    settings.STEP_SILENT_S = -1
    hanging = create_run(JOBS[JobCode.UPLOAD]).run
    with Locks() as locks:
        claim_step(waiting_steps(hanging.pk)[0], locks.worker)

        assert is_hung(os.getpid())
        assert not is_hung(os.getpid())

    assert hanging.steps.get().status == "failed"
    hanging.refresh_from_db()
    assert hanging.status == "failed"
    houston.refresh_from_db()
    assert houston.failures == 1


def test_a_worker_claims_its_steps_one_by_one(houston, popup):
    ChannelDatabase.objects.update(last_duration_s=0.01)
    waiting = create_run(JOBS[JobCode.UPLOAD]).run
    [turn] = waiting_steps(waiting.pk)

    first, second = claim_turn(turn, "worker"), claim_turn(turn, "other")

    assert next(first).place == "houston"
    assert [step.status for step in waiting.steps.order_by("position")] == ["running", "queued"]
    assert next(second).place == "popup"
    assert next(first, None) is None


def test_only_one_process_at_a_time_looks_after_runs(houston):
    claim_step(waiting_steps(create_run(PIPELINE).run.pk)[0], "dead")
    with Locks() as other:
        assert other.acquire("dispatcher")
        assert run_maintenance() == []
    assert len(run_maintenance()) == 2
