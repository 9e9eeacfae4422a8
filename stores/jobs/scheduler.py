"""The scheduler: jobs by their schedules, and after trouble; slow channels apart."""

import logging
import signal
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import psycopg2
import redis
from django.conf import settings
from django.db import DatabaseError, close_old_connections, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery

from stores.hqdb.locks import Locks
from stores.hqdb.sql import fetch_value, run_sql
from stores.jobs import worker
from stores.jobs.catalog import JOBS
from stores.jobs.stalled import run_maintenance
from stores.jobs.start import start_job
from stores.models import ChannelDatabase, Incident, JobRun, RunStep, Schedule
from stores.models.incident import BLOCKS_CONVERSION
from stores.models.job import JobCode, StepCode
from stores.models.run import IS_LIVE, ClockTime, RunStatus, StartedBy, Visits, summarize_codes
from stores.pipeline.download.packages import drop_delivered
from stores.pipeline.download.ranges import delete_replaced, fold_sessions

logger = logging.getLogger(__name__)

MAINTENANCE_S = 2
CLEANUP_S = 60
CLOCK_POLL_S = 15
RUNS_PER_CHUNK = 20
# Of a channel whose incident was closed so lately, it is looked at whether all is as it should be.
AFTER_INCIDENT = timedelta(days=1)
# What is done for slow channels, in turn: never more than one of them at a time.
SLOW_CHANNEL_JOBS = (JobCode.UPLOAD, JobCode.DOWNLOAD)
SERVER_ERRORS = (DatabaseError, psycopg2.Error, redis.RedisError)


def run_scheduler(*, log: Callable[[str], object]) -> None:
    """Start and recover runs until SIGTERM; of several schedulers one is the leader."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    worker.wait_for_servers(stop.is_set)
    while not stop.is_set():
        try:
            with Locks() as locks:
                run_as_leader(locks, stop, log)
        except SERVER_ERRORS:
            logger.warning("the servers do not answer; trying again")
        close_old_connections()
        stop.wait(1)


def run_as_leader(locks: Locks, stop: threading.Event, log: Callable[[str], object]) -> None:
    """Wait for the scheduler's lock, then act for as long as this process lives."""
    while not locks.acquire("scheduler"):
        if stop.wait(1):
            return
    intervals = {
        start_scheduled: 0,
        start_for_slow_channels: 0,
        run_maintenance: MAINTENANCE_S,
        delete_idle_runs: CLEANUP_S,
        drop_delivered: CLEANUP_S,
        remove_visits: CLEANUP_S,
        fold_downloads: CLEANUP_S,
        compare_after_incidents: CLOCK_POLL_S,
    }
    due = dict.fromkeys(intervals, 0.0)
    while not stop.is_set():
        # The lock is gone with its connection; this raises then.
        locks.fetch_value("SELECT 1")
        for task, at in due.items():
            if time.monotonic() >= at:
                due[task] = time.monotonic() + intervals[task]
                for sentence in task() or ():
                    log(sentence)
        stop.wait(1)


def start_for_slow_channels() -> None:
    """Visit the channels that would hold up the others in runs of their own.

    These are uploads and downloads in turn, where a schedule starts such often.
    """
    slow = ChannelDatabase.objects.enabled().not_backing_off().slow()
    codes = sorted(set(slow.values_list("channel__code", flat=True)))
    slow_runs = JobRun.objects.filter(visits=Visits.SLOW)
    if not codes or is_recent(slow_runs):
        return
    latest = slow_runs.newest_first().first()
    # What was done the last time comes last.
    for job in sorted(SLOW_CHANNEL_JOBS, key=lambda job: bool(latest and latest.job == job)):
        if channels := scheduled_often(job, codes):
            start_job(
                JOBS[job], channels=channels, started_by=StartedBy.SCHEDULE, visits=Visits.SLOW
            )
            return


def scheduled_often(job: JobCode, codes: list[str]) -> list[str]:
    """Those of the channels for which a schedule often starts a job of the pipeline."""
    covered = [schedule.codes for schedule in Schedule.objects.often(job, database_clock())]
    return [code for code in codes if any(own is None or code in own for own in covered)]


def start_scheduled() -> list[str]:
    """Start the jobs whose time has come, and those that had not done everything."""
    now = database_clock()
    schedules = Schedule.objects.select_related("last_run")
    due = [*schedules.due(now), *schedules.to_retry(now), *schedules.planned_ahead(now)]
    return [sentence for schedule in due if (sentence := start_due(schedule, now))]


def start_due(schedule: Schedule, now: datetime) -> str:
    """Start the job of one schedule, unless another scheduler has; what was done.

    A run of the same job and channels that is live already serves this turn too.
    """
    with transaction.atomic():
        if not schedule.claim_start(now):
            return ""
        codes = schedule.codes
        if codes != []:
            started = start_job(
                JOBS[schedule.job],
                channels=codes or (),
                started_by=StartedBy.SCHEDULE,
                visits=schedule.visits(now),
            )
            Schedule.objects.filter(pk=schedule.pk).update(last_run=started.run)
    # What starts every few seconds is not worth a line each time.
    if schedule.is_continuous:
        return ""
    if codes == []:
        return f"{schedule.job}: no channel of its schedule is switched on."
    return f"{schedule.job}: started, as {schedule.rhythm}."


def compare_after_incidents() -> list[str]:
    """Compare channels with headquarters once what was wrong with them is settled.

    Every channel, if headquarters itself had been set back or moved.
    """
    now = database_clock()
    settled = Incident.objects.filter(
        Q(database=OuterRef("pk")) | Q(kind__in=BLOCKS_CONVERSION),
        closed_at__range=(now - AFTER_INCIDENT, now),
    ).order_by("-closed_at")
    compared = RunStep.objects.filter(
        database=OuterRef("pk"),
        step__in=(StepCode.RECONCILE, StepCode.REPAIR),
        started_at__gt=OuterRef("settled_at"),
    )
    databases = (
        ChannelDatabase.objects.enabled()
        .annotate(settled_at=Subquery(settled.values("closed_at")[:1]))
        .filter(~Exists(compared), settled_at__isnull=False)
    )
    codes = sorted(set(databases.values_list("channel__code", flat=True)))
    live = JobRun.objects.live().filter(job=JobCode.RECONCILE, started_by=StartedBy.SCHEDULE)
    if not codes or live.exists():
        return []
    start_job(JOBS[JobCode.RECONCILE], channels=codes, started_by=StartedBy.SCHEDULE)
    return [f"reconcile: started after an incident, for {summarize_codes(codes)}."]


def database_clock() -> datetime:
    """The time by HQ's database, which all schedulers share."""
    now: datetime = fetch_value("SELECT clock_timestamp()")
    return now


def is_recent(runs: QuerySet[JobRun]) -> bool:
    """Whether one of the runs is live, or ended a moment ago.

    One that ended in the future did so by a clock that has been set back since: long ago.
    """
    moment = ClockTime() - timedelta(seconds=settings.PIPELINE_PAUSE_S)
    ended = Q(ended_at__gt=moment, ended_at__lte=ClockTime())
    return runs.filter(IS_LIVE | ended).exists()


def delete_idle_runs() -> None:
    """Remove scheduled runs that found nothing to do: there are thousands a day.

    The latest run of a schedule stays, so that people see that it works.
    """
    moment = ClockTime() - timedelta(seconds=settings.IDLE_RUNS_KEPT_S)
    JobRun.objects.filter(
        started_by=StartedBy.SCHEDULE,
        status=RunStatus.NOTHING_TO_DO,
        ended_at__lt=moment,
        schedules=None,
        uploadsessions=None,
        downloadsessions=None,
        packages=None,
    ).delete()


def remove_visits() -> None:
    """Remove the visits of old runs that went well: one for each run and database.

    What they did is in the counts of the run. Runs that still have them are told by the index.
    """
    run_sql(
        """WITH old AS (
             UPDATE job_run SET steps_removed_at = now()
              WHERE id IN (SELECT id FROM job_run
                            WHERE steps_removed_at IS NULL
                              AND ended_at < now() - %(days)s * interval '1 day'
                            ORDER BY ended_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
             RETURNING id)
           DELETE FROM run_step s USING old
            WHERE s.run_id = old.id AND s.step = ANY(%(visits)s)
              AND s.status IN ('succeeded', 'nothing_to_do')""",
        {
            "days": settings.DETAILS_KEPT_DAYS,
            "limit": RUNS_PER_CHUNK,
            "visits": [StepCode.UPLOAD.value, StepCode.DOWNLOAD.value],
        },
    )


def fold_downloads() -> None:
    """Fold the download sessions of these runs, and remove those that brought nothing."""
    fold_sessions()
    delete_replaced()
