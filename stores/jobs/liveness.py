"""What should happen by itself and does not: nothing is broken, and nothing goes on."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Q
from django.utils import timezone

from stores.hqdb.locks import lock_holders
from stores.jobs import queue
from stores.jobs.catalog import JOBS
from stores.messages.labels import plural
from stores.models import ChannelDatabase, JobRun, Schedule
from stores.models.job import JobCode
from stores.models.run import EVERYTHING, RunStatus, summarize_codes
from stores.models.schedule import LATE_AFTER, continuous_pause

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
    yield from unscheduled_steps()
    yield from stalled_pipeline()
    yield from paused_schedules()
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


def unscheduled_steps() -> Iterator[LivenessProblem]:
    """Steps of the pipeline that no schedule starts in some channels: somebody has to."""
    schedules = list(Schedule.objects.active().with_details())
    enabled = ChannelDatabase.objects.enabled().values_list("channel__code", flat=True)
    uncovered: dict[tuple[str, ...], list[str]] = {}
    for step in JOBS[JobCode.PIPELINE].steps:
        covering = [schedule for schedule in schedules if step in JOBS[schedule.job].steps]
        if not any(schedule.is_for_all for schedule in covering):
            left = set(enabled).difference(*(schedule.codes or () for schedule in covering))
            uncovered.setdefault(tuple(sorted(left)), []).append(str(step.code.label))
    for codes, steps in uncovered.items():
        if codes:
            yield LivenessProblem(
                "not_scheduled",
                f"No schedule covers {', '.join(steps).lower()} for {summarize_codes([*codes])}: "
                "customers get no further by themselves.",
                "Add a schedule of the pipeline, or switch it on or resume it.",
                "schedules",
            )


def paused_schedules() -> Iterator[LivenessProblem]:
    for schedule in Schedule.objects.paused().with_details()[:MAX_NAMED]:
        by = f" by {schedule.paused_by.get_username()}" if schedule.paused_by else ""
        yield LivenessProblem(
            "schedule_paused",
            f"The schedule of {JOBS[schedule.job].title} ({schedule.about}) is paused since "
            f"{schedule.paused_at:%Y-%m-%d %H:%M} UTC{by}: {schedule.pause_reason}",
            "Resume it if the reason is gone.",
            "schedules",
        )


def stalled_pipeline() -> Iterator[LivenessProblem]:
    """No pipeline has ended for longer than the pause between two, and none is at work.

    Only if a schedule starts one after the other, for all channels.
    """
    now = timezone.now()
    if not any(map(is_whole_pipeline, Schedule.objects.active())):
        return
    latest = now - continuous_pause() - LATE_AFTER
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


def is_whole_pipeline(schedule: Schedule) -> bool:
    is_pipeline = schedule.job == JobCode.PIPELINE and schedule.is_continuous
    return is_pipeline and schedule.is_for_all


def duration_words(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return "yet"
    minutes = int((now - moment).total_seconds() // 60)
    if minutes < 120:
        return f"for {minutes} minutes"
    return f"since {moment:%Y-%m-%d %H:%M} UTC"


def overdue_schedules() -> Iterator[LivenessProblem]:
    now = timezone.now()
    schedules = Schedule.objects.active().select_related("last_run").order_by("next_start_at")
    late = [schedule for schedule in schedules if schedule.is_late(now)]
    # Of the pipeline, stalled_pipeline() tells.
    overdue = [schedule for schedule in late if not is_whole_pipeline(schedule)]
    for schedule in overdue[:MAX_NAMED]:
        due = f"{schedule.next_start_at:%Y-%m-%d %H:%M} UTC"
        what_then = "It starts as soon as" if schedule.catches_up else "It starts next time if"
        yield LivenessProblem(
            "schedule_missed",
            f"{JOBS[schedule.job].title} was due at {due} and has not started.",
            f"{what_then} a scheduler is running. You can also start it by hand.",
            "schedules",
        )
    if (more := len(overdue) - MAX_NAMED) > 0:
        yield LivenessProblem(
            "schedule_missed",
            f"{more:,} more {plural('schedule', more)} overdue.",
            "Look at all schedules.",
            "schedules",
        )
