"""The scheduler: jobs by their schedules, and after trouble; slow channels apart."""

import logging
import signal
import threading
import time
from collections.abc import Callable
from datetime import datetime

import psycopg2
import redis
from django.db import DatabaseError, close_old_connections, transaction

from stores.hqdb.locks import Locks
from stores.hqdb.sql import database_clock
from stores.jobs import worker
from stores.jobs.catalog import JOBS
from stores.jobs.stalled import run_maintenance
from stores.jobs.start import start_job
from stores.models import ChannelDatabase, JobRun, Schedule
from stores.models.job import JobCode
from stores.models.run import StartedBy, Visits, summarize_codes
from stores.models.step import remove_visits
from stores.pipeline.download.packages import drop_delivered
from stores.pipeline.download.ranges import fold_downloads
from stores.pipeline.integrity.reconcile import codes_to_compare

logger = logging.getLogger(__name__)

MAINTENANCE_S = 2
CLEANUP_S = 60
CLOCK_POLL_S = 15
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
        JobRun.objects.delete_idle: CLEANUP_S,
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
    if not codes or slow_runs.recent().exists():
        return
    latest = slow_runs.newest_first().first()
    # What was done the last time comes last.
    for job in sorted(SLOW_CHANNEL_JOBS, key=lambda job: bool(latest and latest.job == job)):
        if channels := Schedule.objects.started_often(job, codes, database_clock()):
            start_job(
                JOBS[job], channels=channels, started_by=StartedBy.SCHEDULE, visits=Visits.SLOW
            )
            return


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
    """Compare channels with headquarters once what was wrong with them is settled."""
    codes = codes_to_compare(database_clock())
    live = JobRun.objects.live().filter(job=JobCode.RECONCILE, started_by=StartedBy.SCHEDULE)
    if not codes or live.exists():
        return []
    start_job(JOBS[JobCode.RECONCILE], channels=codes, started_by=StartedBy.SCHEDULE)
    return [f"reconcile: started after an incident, for {summarize_codes(codes)}."]
