"""The overview and the command `channels` warn when no scheduler, worker or pipeline runs.

From conftest.py: `houston` is a store on PostgreSQL; `command` calls a management command and
returns its output; `reader` is a client of a user who may see every page.
"""

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
import rq
from django.db import connection
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from stores.hqdb.locks import Locks
from stores.jobs import queue
from stores.jobs.liveness import liveness_problems
from stores.models import JobRun, Schedule
from stores.models.job import JobCode
from tests.support.make import make_schedule, run

ONE_DAY = timedelta(days=1)


@pytest.fixture
def everything_runs(houston) -> Iterator[None]:
    """A scheduler and a worker are running, and a pipeline has just ended."""
    make_schedule("pipeline", is_continuous=True)
    Schedule.objects.update(last_run=run("pipeline")["run"])
    worker = rq.Worker([queue.get_queue()], connection=queue.get_queue().connection)
    worker.register_birth()
    with Locks() as locks:
        assert locks.acquire("scheduler")
        yield
    worker.register_death()


def problem_codes() -> list[str]:
    return [problem.code for problem in liveness_problems()]


@pytest.mark.finding(id="A15")
def test_the_overview_and_the_command_name_each_problem(houston, reader, command):
    make_schedule("pipeline", is_continuous=True)
    problems = json.loads(command("channels", "--json"))["concerns"]
    alerts = {alert.text: alert for alert in reader.get("/").context["alerts"]}
    output = command("channels")

    assert [problem["code"] for problem in problems] == [
        *("no_scheduler", "no_worker", "no_pipeline"),
    ]
    for problem in problems:
        alert = alerts[problem["text"]]
        assert alert.next_step == problem["next_step"]
        assert reader.get(alert.url).status_code == 200
        assert problem["text"] in output


@pytest.mark.finding(id="A15")
def test_there_is_no_problem_while_everything_runs(everything_runs, reader):
    assert problem_codes() == []
    assert not reader.get("/").context["alerts"]


@pytest.mark.finding(id="A15")
@pytest.mark.parametrize(
    "since_the_end", [-timedelta(minutes=6), ONE_DAY], ids=["6 minutes ago", "tomorrow"]
)
def test_a_pipeline_that_has_not_ended_lately_is_a_problem(everything_runs, since_the_end):
    JobRun.objects.update(ended_at=timezone.now() + since_the_end)

    assert problem_codes() == ["no_pipeline"]


@pytest.mark.parametrize(("pause_s", "codes"), [(900, []), (30, ["no_pipeline"])])
def test_a_pipeline_may_be_as_late_as_the_pause_that_is_set(
    everything_runs, settings, pause_s, codes
):
    settings.PIPELINE_PAUSE_S = pause_s
    JobRun.objects.update(ended_at=timezone.now() - timedelta(minutes=6))

    assert problem_codes() == codes


@pytest.mark.finding(id="A15")
def test_a_pipeline_running_for_a_day_is_no_problem(everything_runs):
    JobRun.objects.update(status="running", ended_at=None, created_at=F("created_at") - ONE_DAY)

    assert problem_codes() == []


@pytest.mark.finding(id="A15")
def test_a_queue_that_does_not_answer_is_a_problem(everything_runs, settings):
    settings.REDIS_URL = "unix:///nowhere/redis.sock"

    assert problem_codes() == ["queue_away"]


DAILY = {"cron": "0 0 * * *"}


@pytest.mark.finding(id="A15")
@pytest.mark.parametrize(
    ("times", "minutes_late", "codes"),
    [
        ({"every_minutes": 1}, 0.5, []),
        ({"every_minutes": 1}, 1.5, ["schedule_missed"]),
        ({"every_minutes": 60}, 4, []),
        ({"every_minutes": 60}, 6, ["schedule_missed"]),
        (DAILY, 4, []),
        (DAILY, 6, ["schedule_missed"]),
    ],
)
def test_a_start_that_is_not_made_is_a_problem_within_one_interval(
    everything_runs, times, minutes_late, codes
):
    schedule = make_schedule("eod", **times)
    due = timezone.now() - timedelta(minutes=minutes_late)
    Schedule.objects.filter(pk=schedule.pk).update(next_start_at=due)

    assert problem_codes() == codes


def test_channels_that_no_schedule_visits_are_named(houston, popup):
    make_schedule("P-0001", houston, every_minutes=5)
    make_schedule("sync-customers", every_minutes=5)

    problems = [each for each in liveness_problems() if each.code == "not_scheduled"]

    assert [str(problem.text).partition(":")[0] for problem in problems] == [
        "No schedule covers upload for popup",
        "No schedule covers send accounts for houston, popup",
    ]


def test_a_pipeline_that_somebody_paused_is_told_with_the_reason(everything_runs, hq_user, reader):
    schedule = Schedule.objects.get()
    schedule.pause(timezone.now(), "The line is being replaced.", by=hq_user)

    texts = [alert.text for alert in reader.get("/").context["alerts"]]

    assert problem_codes() == ["not_scheduled", "schedule_paused"]
    assert "by robin: The line is being replaced." in texts[1]
    schedule.resume(timezone.now())
    assert problem_codes() == []


@pytest.mark.parametrize("job", [JobCode.DOWNLOAD, JobCode.UPLOAD])
def test_a_failed_run_is_shown_until_a_pipeline_succeeds(everything_runs, reader, job):
    run(job)
    JobRun.objects.filter(job=job).update(status="failed")
    sentence = f"Last run of {job}: failed."
    shown_before = [alert.text for alert in reader.get("/").context["alerts"]]

    run("pipeline")
    shown_after = [alert.text for alert in reader.get("/").context["alerts"]]
    JobRun.objects.filter(job="pipeline").update(status="partly")
    shown_after_a_partial_one = [alert.text for alert in reader.get("/").context["alerts"]]

    assert sentence in shown_before
    assert sentence not in shown_after
    assert sentence in shown_after_a_partial_one


@pytest.mark.finding(id="V5")
def test_a_run_that_failed_tomorrow_is_not_the_last_one(everything_runs, reader):
    JobRun.objects.update(status="failed")
    failed_now = [alert.text for alert in reader.get("/").context["alerts"]]
    JobRun.objects.update(ended_at=timezone.now() + ONE_DAY)
    failed_tomorrow = [alert.text for alert in reader.get("/").context["alerts"]]

    assert "Last run of pipeline: failed." in failed_now
    assert "Last run of pipeline: failed." not in failed_tomorrow


def test_looking_for_problems_does_not_take_longer_with_every_schedule(
    everything_runs, houston, django_assert_num_queries
):
    with CaptureQueriesContext(connection) as before:
        problem_codes()
    for hour in range(20):
        make_schedule("eod", houston, cron=f"0 {hour} * * *")

    with django_assert_num_queries(len(before)):
        assert problem_codes() == []
