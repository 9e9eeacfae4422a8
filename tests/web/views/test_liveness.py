"""The overview and the command `channels` warn when no scheduler, worker or pipeline runs.

From conftest.py: `houston` is a store on PostgreSQL; `command` calls a management command and
returns its output; `reader` is a client of a user who may see every page.
"""

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
import rq
from django.db.models import F
from django.utils import timezone

from stores.hqdb.locks import Locks
from stores.jobs import queue
from stores.jobs.liveness import liveness_problems
from stores.models import JobRun, Schedule
from stores.models.job import JobCode
from tests.support.make import run

ONE_DAY = timedelta(days=1)


@pytest.fixture
def everything_runs(houston) -> Iterator[None]:
    """A scheduler and a worker are running, and a pipeline has just ended."""
    run("pipeline")
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
    problems = json.loads(command("channels", "--json"))["concerns"]
    alerts = {alert.text: alert for alert in reader.get("/").context["alerts"]}
    output = command("channels")

    assert [problem["code"] for problem in problems] == ["no_scheduler", "no_worker", "no_pipeline"]
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


@pytest.mark.finding(id="A15")
@pytest.mark.parametrize(
    ("since_last_start", "codes"),
    [
        (-timedelta(minutes=11), ["schedule_missed"]),
        (-timedelta(minutes=7), []),
        (ONE_DAY, []),
    ],
    ids=["11 minutes ago", "7 minutes ago", "tomorrow"],
)
def test_a_five_minute_job_that_did_not_start_is_a_problem(
    everything_runs, since_last_start, codes
):
    last_start = timezone.now() + since_last_start
    Schedule.objects.create(job="eod", every_minutes=5, started_at=last_start)

    assert problem_codes() == codes


@pytest.mark.finding(id="A15")
@pytest.mark.parametrize(
    ("days_since_last_start", "codes"),
    [(1, ["schedule_missed"]), (0, [])],
    ids=["yesterday", "today"],
)
def test_a_daily_job_not_started_today_is_a_problem(everything_runs, days_since_last_start, codes):
    due = timezone.now() - timedelta(minutes=6)
    last_day = due.date() - timedelta(days=days_since_last_start)
    Schedule.objects.create(job="eod", at=due.time(), started_on=last_day)

    assert problem_codes() == codes


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
