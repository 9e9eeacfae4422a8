"""What should happen by itself and does not: nothing is broken, and nothing goes on."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q
from django.utils import timezone

from stores.hqdb.locks import lock_holders
from stores.jobs import queue
from stores.jobs.catalog import JOBS
from stores.messages.message import Message
from stores.models import ChannelDatabase, JobRun, Schedule
from stores.models.job import JobCode
from stores.models.run import EVERYTHING, RunStatus, summarize_codes
from stores.models.schedule import LATE_AFTER, continuous_pause

# Schedules that are named one by one.
MAX_NAMED = 10
# What happened longer ago is told with its date.
LONG_AGO = timedelta(hours=2)


@dataclass(frozen=True)
class LivenessProblem:
    """One thing that does not happen, what a person can do, and the page it is seen on."""

    code: str
    text: Message
    next_step: Message
    page: str = "schedules"


def liveness_problems() -> Iterator[LivenessProblem]:
    """What does not happen, the cause before its effects; nothing needs to without a channel."""
    if not ChannelDatabase.objects.enabled().exists():
        return
    # Whoever acts as the scheduler holds its lock.
    if not lock_holders(["scheduler"]):
        yield LivenessProblem("no_scheduler", Message("no_scheduler"), Message("start_scheduler"))
    yield from missing_worker()
    yield from unscheduled_steps()
    yield from stalled_pipeline()
    yield from paused_schedules()
    yield from overdue_schedules()


def missing_worker() -> Iterator[LivenessProblem]:
    """Nobody listens to the queue, or it does not answer."""
    workers = queue.count_workers()
    if workers is None:
        yield LivenessProblem("queue_away", Message("queue_away"), Message("check_queue"), "runs")
    elif not workers:
        yield LivenessProblem("no_worker", Message("no_worker"), Message("start_worker"), "runs")


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
            what, where = ", ".join(steps).lower(), summarize_codes([*codes])
            text = Message("not_scheduled", steps=what, channels=where)
            yield LivenessProblem("not_scheduled", text, Message("add_schedule"))


def paused_schedules() -> Iterator[LivenessProblem]:
    for schedule in Schedule.objects.paused().with_details()[:MAX_NAMED]:
        by = f" by {schedule.paused_by.get_username()}" if schedule.paused_by else ""
        text = Message(
            "schedule_paused",
            job=JOBS[schedule.job].title,
            about=schedule.about,
            since=f"{in_utc(schedule.paused_at)}{by}",
            why=schedule.pause_reason,
        )
        yield LivenessProblem("schedule_paused", text, Message("resume_schedule"))


def stalled_pipeline() -> Iterator[LivenessProblem]:
    """No pipeline has ended for longer than the pause between two, and none is at work.

    Only if a schedule starts one after the other, for all channels.
    """
    now = timezone.now()
    if not any(schedule.is_whole_pipeline for schedule in Schedule.objects.active()):
        return
    latest = now - continuous_pause() - LATE_AFTER
    runs = JobRun.objects.filter(job=JobCode.PIPELINE, scope=EVERYTHING)
    # What ended in the future did so by a clock that has been set back since.
    is_well = Q(status=RunStatus.RUNNING) | Q(ended_at__range=(latest, now))
    if runs.filter(is_well).exists():
        return
    ended = runs.filter(ended_at__lte=now).order_by("-ended_at").values_list("ended_at", flat=True)
    text = no_pipeline(ended.first(), now)
    yield LivenessProblem("no_pipeline", text, Message("check_pipeline"), "runs")


def no_pipeline(ended_at: datetime | None, now: datetime) -> Message:
    """That no pipeline has ended since that moment, or ever."""
    if ended_at is None:
        return Message("no_pipeline_yet")
    if now - ended_at >= LONG_AGO:
        return Message("no_pipeline_since", moment=in_utc(ended_at))
    return Message("no_pipeline_for", minutes=(now - ended_at) // timedelta(minutes=1))


def overdue_schedules() -> Iterator[LivenessProblem]:
    now = timezone.now()
    schedules = Schedule.objects.active().select_related("last_run").order_by("next_start_at")
    late = [schedule for schedule in schedules if schedule.is_late(now)]
    # Of the pipeline, stalled_pipeline() tells.
    overdue = [schedule for schedule in late if not schedule.is_whole_pipeline]
    for schedule in overdue[:MAX_NAMED]:
        due = in_utc(schedule.next_start_at)
        text = Message("schedule_missed", job=JOBS[schedule.job].title, due=due)
        then = Message("starts_late" if schedule.catches_up else "starts_next_time")
        yield LivenessProblem("schedule_missed", text, then)
    if (more := len(overdue) - MAX_NAMED) > 0:
        text = Message("more_schedules_missed", count=more)
        yield LivenessProblem("schedule_missed", text, Message("see_schedules"))


def in_utc(moment: datetime | None) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
