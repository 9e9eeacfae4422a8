"""What should happen by itself and does not: nothing is broken, and nothing goes on."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from stores.hqdb.locks import lock_holders
from stores.jobs import queue
from stores.jobs.catalog import JOBS
from stores.messages.labels import plural
from stores.models import ChannelDatabase, JobRun, Schedule
from stores.models.job import JobCode
from stores.models.run import EVERYTHING, RunStatus

# Nobody is told of less: a restart of a server or of a process takes a minute or two.
GRACE_PERIOD = timedelta(minutes=5)
# Schedules that are named one by one.
MAX_NAMED = 10


@dataclass(frozen=True)
class LivenessProblem:
    """One thing that does not happen, what a person can do, and the page it is seen on."""

    code: str
    text: str
    next_step: str
    page: str


def liveness_problems() -> Iterator[LivenessProblem]:
    """What does not happen, the cause before its effects; nothing needs to without a channel."""
    if not ChannelDatabase.objects.enabled().exists():
        return
    yield from missing_processes()
    yield from stalled_pipeline()
    yield from overdue_schedules()


def missing_processes() -> Iterator[LivenessProblem]:
    """Nobody holds the scheduler's lock, or nobody takes steps from the queue."""
    if not lock_holders(["scheduler"]):
        yield LivenessProblem(
            "no_scheduler",
            "No scheduler is running: no job starts on schedule.",
            "Start one: python3 manage.py scheduler. Jobs started by hand still run.",
            "schedules",
        )
    yield from missing_worker()


def missing_worker() -> Iterator[LivenessProblem]:
    """Nobody listens to the queue, or it does not answer."""
    workers = queue.count_workers()
    if workers is None:
        yield LivenessProblem(
            "queue_away",
            "The queue is not responding: started jobs are waiting.",
            "Check Redis or Valkey. Waiting jobs are saved and start automatically.",
            "runs",
        )
    elif not workers:
        yield LivenessProblem(
            "no_worker",
            "No worker is running: started jobs are waiting.",
            "Start one: python3 manage.py worker. Waiting jobs are saved and start automatically.",
            "runs",
        )


def stalled_pipeline() -> Iterator[LivenessProblem]:
    """No pipeline has ended for longer than the pause between two, and none is at work."""
    now = timezone.now()
    latest = now - timedelta(seconds=settings.PIPELINE_PAUSE_S) - GRACE_PERIOD
    runs = JobRun.objects.filter(job=JobCode.PIPELINE, scope=EVERYTHING)
    # What ended in the future did so by a clock that has been set back since.
    is_well = Q(status=RunStatus.RUNNING) | Q(ended_at__range=(latest, now))
    if runs.filter(is_well).exists():
        return
    ended = runs.filter(ended_at__lte=now).order_by("-ended_at").values_list("ended_at", flat=True)
    yield LivenessProblem(
        "no_pipeline",
        f"No pipeline run has ended {duration_words(ended.first(), now)}: "
        "channels are not being visited.",
        "Check the latest runs, the scheduler and the workers, or run the pipeline by hand.",
        "runs",
    )


def duration_words(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return "yet"
    minutes = int((now - moment).total_seconds() // 60)
    if minutes < 120:
        return f"for {minutes} minutes"
    return f"since {moment:%Y-%m-%d %H:%M} UTC"


def overdue_schedules() -> Iterator[LivenessProblem]:
    latest = timezone.now() - GRACE_PERIOD
    schedules = Schedule.objects.filter(is_enabled=True)
    overdue = [row for row in schedules if row.next_start and row.next_start < latest]
    for schedule in overdue[:MAX_NAMED]:
        due = f"{schedule.next_start:%Y-%m-%d %H:%M} UTC"
        yield LivenessProblem(
            "schedule_missed",
            f"{JOBS[schedule.job].title} was due at {due} and has not started.",
            "It starts as soon as a scheduler is running. You can also start it by hand.",
            "schedules",
        )
    if (more := len(overdue) - MAX_NAMED) > 0:
        yield LivenessProblem(
            "schedule_missed",
            f"{more:,} more {plural('schedule', more)} overdue.",
            "Look at all schedules.",
            "schedules",
        )
