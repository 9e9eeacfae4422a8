"""All schedules of 200 channels for ten minutes: how late starts were, and if the queue grew.

A scheduler and two workers do what a new installation schedules, with the checks of the night and
every store's end of day moved into the ten minutes. Meanwhile tills of a few channels write
customers. All is read from HQ and the queue once a second.
"""

import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.db.models import Min

from bench.burst import serve_one
from bench.fleet import copy_channel
from bench.place import SHOPS, START_S, Options, Place, so_many, table
from stores.hqdb.locks import lock_holders
from stores.hqdb.sql import database_clock
from stores.jobs.queue import enqueued_steps
from stores.models import ChannelDatabase, GuidMap, JobRun, Schedule
from stores.models.job import JobCode
from stores.models.run import StartedBy
from stores.models.schedule import continuous_pause, restore_scheduler

CHANNELS, DURATION_S, TINY_DURATION_S = 200, 600, 4
POLL_S, LAST_STARTS_S = 1, 2
# With every other look a customer comes.
SERVE_EVERY = 2
# How many channels have customers, half of them on SQLite.
SERVING = 8
# Minutes after the beginning at which these start, once.
NIGHTLY = {JobCode.VERIFY: 2, JobCode.RECONCILE: 4, JobCode.END_OF_DAY: 6}
ORDERS_EVERY_MINUTES = 5


def measure(place: Place, options: Options) -> None:
    workers, channels = max(options.workers, 2), so_many(options, CHANNELS, 8)
    for code in SHOPS:
        place.shop(code)
    first = place.shop("till001", url="sqlite:///channels/till001.sqlite3")
    place.job("pipeline")
    copy_channel(first, [f"till{number:03}" for number in range(2, channels - len(SHOPS) + 1)])
    place.settle()
    # The migrations have planned theirs long ago.
    Schedule.objects.all().delete()

    with place.served(workers, "scheduler"):
        wait_for_scheduler()
        schedules = [Watched(schedule) for schedule in make_schedules(database_clock())]
        samples = watch(schedules, so_many(options, DURATION_S, TINY_DURATION_S))
        ended_at = database_clock()
        # What was due at the very end is started now.
        time.sleep(LAST_STARTS_S)
        look(schedules)
        rows = [schedule.row(ended_at) for schedule in schedules]

    table(
        [
            f"{channels} channels, {workers} workers",
            *("starts", "starts due", "starts made", "latest start", "longest run"),
        ],
        rows,
    )
    queued, unfinished, oldest_s = (list(values) for values in zip(*samples, strict=True))
    table(
        ["measure", "most, first half", "most, second half", "at the end"],
        [
            row_of("messages in the queue", queued),
            row_of("unfinished runs", unfinished),
            row_of("age of the oldest waiting customer", oldest_s, " s"),
        ],
    )


def wait_for_scheduler() -> None:
    give_up = time.monotonic() + START_S
    while not lock_holders(["scheduler"]):
        if time.monotonic() > give_up:
            raise SystemExit(f"The scheduler did not start within {START_S} s.")
        time.sleep(0.05)


def make_schedules(now: datetime) -> list[Schedule]:
    """What a new installation and the demo have, with the nights within the ten minutes."""
    restore_scheduler(now)
    Schedule.objects.filter(job__in=NIGHTLY).delete()
    added = [Schedule(job=JobCode.ORDERS, every_minutes=ORDERS_EVERY_MINUTES)]
    for job, minutes in NIGHTLY.items():
        start = now + timedelta(minutes=minutes)
        added.append(Schedule(job=job, cron=f"{start.minute} {start.hour} * * *"))
    for schedule in added:
        schedule.save_settings(now)
    return list(Schedule.objects.all())


class Watched:
    """A schedule, as it was when it was last looked at; and how its starts were kept."""

    def __init__(self, schedule: Schedule) -> None:
        self.first = self.last = schedule
        self.made = 0
        self.late_s: list[float] = []

    def look(self, schedule: Schedule) -> None:
        """Note the start that was made since the last look, if there is one."""
        if schedule.started_at and schedule.started_at != self.last.started_at:
            self.made += 1
            if due := self.due:
                self.late_s.append(seconds(due, schedule.started_at))
        self.last = schedule

    @property
    def due(self) -> datetime | None:
        """When its next start is due; None while a continuous one waits for its run."""
        if not (self.last.is_continuous and self.last.last_run_id):
            return self.last.next_start_at
        # It may have ended since the last look.
        run = JobRun.objects.get(pk=self.last.last_run_id)
        return run.ended_at and run.ended_at + continuous_pause()

    def row(self, now: datetime) -> list[object]:
        """Its line of the table, with the start that was due by then and is not made."""
        overdue = [due] if (due := self.due) and due <= now else []
        late_s = [*self.late_s, *(seconds(due, now) for due in overdue)]
        runs = JobRun.objects.filter(job=self.last.job, started_by=StartedBy.SCHEDULE)
        return [
            self.last.job,
            self.last.rhythm,
            self.made + len(overdue) if self.last.is_continuous else self.count_due(now),
            self.made,
            f"{max(late_s):.1f} s" if late_s else "",
            f"{max((run.seconds or 0 for run in runs), default=0):.1f} s",
        ]

    def count_due(self, now: datetime) -> int:
        """How many starts its rhythm asks for until now, also of those that were left out."""
        count, start = 0, self.first.next_start_at
        while start and start <= now:
            count, start = count + 1, self.first.start_after(start, start)
        return count


def look(schedules: Iterable[Watched]) -> None:
    now = Schedule.objects.in_bulk()
    for watched in schedules:
        watched.look(now[watched.first.pk])


class Sample(NamedTuple):
    """What waits at one moment."""

    queued: int
    unfinished: int
    # How long ago the customer was saved that has waited longest for its account in all channels.
    oldest_s: float


def watch(schedules: list[Watched], duration_s: float) -> list[Sample]:
    """Let customers come and look at everything once a second, for so long."""
    shops = list(ChannelDatabase.objects.with_channel().order_by("pk")[:SERVING])
    waiting: dict[UUID, float] = {}
    samples: list[Sample] = []
    began = time.monotonic()
    while time.monotonic() - began < duration_s:
        if len(samples) % SERVE_EVERY == 0:
            waiting[serve_one(shops[len(samples) % len(shops)])] = time.monotonic()
        look(schedules)
        for guid in known_everywhere(waiting):
            del waiting[guid]
        oldest_s = time.monotonic() - min(waiting.values(), default=time.monotonic())
        queued = enqueued_steps()
        if queued is None:
            raise SystemExit("The queue does not answer.")
        samples.append(Sample(len(queued), JobRun.objects.live().count(), oldest_s))
        time.sleep(POLL_S)
    return samples


def known_everywhere(guids: Iterable[UUID]) -> list[UUID]:
    """Those of the customers whose account is in the databases of all channels."""
    reached = ChannelDatabase.objects.aggregate(position=Min("position"))["position"]
    known = GuidMap.objects.filter(async_account__in=list(guids), customer__change_no__lte=reached)
    return list(known.values_list("async_account", flat=True))


def row_of(words: str, values: list[float], unit: str = "") -> list[str]:
    """The most of each half, and what it was at the end."""
    half = len(values) // 2
    figures = (max(values[:half]), max(values[half:]), values[-1])
    return [words, *(f"{figure:.0f}{unit}" for figure in figures)]


def seconds(since: datetime, until: datetime) -> float:
    return (until - since).total_seconds()
