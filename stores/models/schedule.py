"""Schedules: when a job starts by itself and for which channels, and what if it could not."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Self
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models, transaction
from django.db.models import F, Q
from django.urls import reverse

from stores import cron
from stores.hqdb.sql import lock_until_commit
from stores.messages.labels import counted
from stores.models.channel import Channel, ChannelDatabaseGroup, check_time_zone
from stores.models.job import CONFIGURATION_JOBS, CONTINUOUS_JOBS, RECURRING_JOBS, JobCode
from stores.models.parameter import ParameterName, parameter
from stores.models.run import JobRun, RunStatus, Visits
from stores.models.scheduler_job import SchedulerJob

MINUTES_A_DAY = 24 * 60
MAX_RETRIES = 20
# A run that did not do everything is tried again this long after it ended.
RETRY_AFTER = timedelta(minutes=15)
TO_RETRY = (RunStatus.PARTLY, RunStatus.FAILED, RunStatus.BUSY)
# A start is late after this, or after one interval, but never sooner than after a minute: so long
# a restart of the scheduler takes.
LATE_AFTER = timedelta(minutes=5)
RESTART = timedelta(minutes=1)
# What one run leaves, the next one takes soon enough.
SOON = timedelta(minutes=15)
NEXT_SHOWN = 5
# What decides when it starts; whoever changes it plans the next start anew.
TIMES = (
    *("is_enabled", "cron", "every_minutes", "is_continuous"),
    *("time_zone", "first_day", "last_day"),
)
SETTINGS = ("job", *TIMES, "catches_up", "retries")


class ScheduleQuerySet(models.QuerySet["Schedule"]):
    def with_details(self) -> Self:
        """Select what a page or a command says of a schedule."""
        users = ("paused_by", "changed_by")
        return self.select_related("last_run", *users).prefetch_related("channels", "groups")

    def switched_on(self) -> Self:
        """Schedules that are in use, and not paused."""
        return self.filter(is_enabled=True, paused_at=None)

    def active(self) -> Self:
        """Schedules that start something: switched on, and not over."""
        return self.filter(next_start_at__isnull=False)

    def paused(self) -> Self:
        return self.filter(is_enabled=True, paused_at__isnull=False)

    def due(self, now: datetime) -> Self:
        """Schedules whose time has come. A continuous one waits until its last run has ended."""
        # What ended in the future did so by a clock that has been set back since.
        latest = now - continuous_pause()
        has_ended = Q(last_run__ended_at__lte=latest) | Q(last_run__ended_at__gt=now)
        is_free = Q(is_continuous=False) | Q(last_run=None) | has_ended
        return self.filter(is_free, next_start_at__lte=now)

    def to_retry(self, now: datetime) -> Self:
        """Schedules whose last run did not do everything, and ended a while ago."""
        return self.switched_on().filter(
            Q(next_start_at__gt=now) | Q(next_start_at=None),
            retries_made__lt=F("retries"),
            last_run__status__in=TO_RETRY,
            last_run__ended_at__lte=now - RETRY_AFTER,
        )

    def planned_ahead(self, now: datetime) -> Self:
        """Schedules whose next start was planned by a clock that has been set back since."""
        return self.switched_on().filter(planned_at__gt=now)

    def often(self, job: str, now: datetime) -> Self:
        """Schedules that soon start a job of the pipeline again, alone or with the others."""
        jobs = (JobCode.PIPELINE, job)
        return self.active().filter(job__in=jobs, next_start_at__lte=now + SOON)

    def started_often(self, job: str, codes: list[str], now: datetime) -> list[str]:
        """Those of the channels for which a schedule often starts a job of the pipeline."""
        covered = [schedule.codes for schedule in self.often(job, now)]
        return [code for code in codes if any(own is None or code in own for own in covered)]

    def restore_defaults(self, now: datetime) -> list["Schedule"]:
        """Add what a new installation has, for jobs without any schedule. Returns what is new."""
        scheduled = set(self.values_list("job", flat=True))
        added = [Schedule(**values) for values in DEFAULTS if values["job"] not in scheduled]
        for schedule in added:
            schedule.save_settings(now)
        return added


def lock_schedules() -> None:
    """Wait until nobody else adds a schedule or changes its settings, and let others wait then."""
    lock_until_commit("schedules")


def patience(interval: timedelta) -> timedelta:
    """How long after it was due a start is not late yet."""
    return max(min(LATE_AFTER, interval), RESTART)


def continuous_pause() -> timedelta:
    """From the end of a continuous schedule's run to its next start."""
    return timedelta(seconds=parameter(ParameterName.PIPELINE_PAUSE))


class Schedule(models.Model):
    """When a job starts, for which channels, and what is done about starts that went wrong.

    It starts by a cron expression on the clock of its time zone, every so many minutes, or
    continuously: moments after its last run ended. People make and delete schedules. The scheduler
    notes each start, and plans the next one, before it makes it, so that of several schedulers only
    one does.

    That none is there twice is no constraint, because its channels and groups are rows of other
    tables: whoever saves one looks for another like it while others wait. Two that are alike would
    share one run, as every two starts of a job and scope do.
    """

    id = models.BigAutoField(primary_key=True)
    job = models.CharField(max_length=40, choices=JobCode.choices)
    channels = models.ManyToManyField(
        Channel,
        blank=True,
        related_name="schedules",
        help_text="With no channel and no group, it is for all channels.",
    )
    groups = models.ManyToManyField(
        ChannelDatabaseGroup,
        blank=True,
        related_name="schedules",
        help_text="For the channels that have a database in one of these groups.",
    )
    is_enabled = models.BooleanField(
        "Switched on", default=True, help_text="If off, it starts nothing."
    )
    cron = models.CharField(
        "Cron expression",
        max_length=100,
        blank=True,
        default="",
        db_default="",
        validators=[cron.check_cron],
        help_text="Minute, hour, day of the month, month, day of the week: */20 8-18 * * mon-fri.",
    )
    every_minutes = models.PositiveIntegerField(
        "Minutes",
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MINUTES_A_DAY)],
        help_text="From one start to the next: 1 to 1440.",
    )
    is_continuous = models.BooleanField(default=False, db_default=False)
    time_zone = models.CharField(
        "Time zone",
        max_length=40,
        default="UTC",
        db_default="UTC",
        validators=[check_time_zone],
        help_text="Whose clock and whose days count, such as America/Chicago.",
    )
    first_day = models.DateField(
        "From", null=True, blank=True, help_text="The first day on which it starts."
    )
    last_day = models.DateField(
        "Until", null=True, blank=True, help_text="The last day on which it starts."
    )
    catches_up = models.BooleanField(
        default=True,
        db_default=True,
        help_text="Whether a start that no scheduler made in time is made late, once, or skipped.",
    )
    retries = models.PositiveSmallIntegerField(
        "Retries",
        default=5,
        db_default=5,
        validators=[MaxValueValidator(MAX_RETRIES)],
        help_text="If a run fails or is done in part, it starts again after 15 minutes, so often"
        " and only before the next start.",
    )
    # The pause: since when, by whom (None: with a command), and why.
    paused_at = models.DateTimeField(null=True, editable=False)
    paused_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, editable=False, related_name="+"
    )
    pause_reason = models.CharField(max_length=300, blank=True, db_default="", editable=False)
    # Who has made it what it is; None: a command or the installation.
    changed_at = models.DateTimeField(null=True, editable=False)
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, editable=False, related_name="+"
    )
    # The next start, and when it was planned; None while it starts nothing.
    next_start_at = models.DateTimeField(null=True, editable=False)
    planned_at = models.DateTimeField(null=True, editable=False)
    # The last start by itself, and the last time for which one was skipped.
    started_at = models.DateTimeField(null=True, editable=False)
    skipped_at = models.DateTimeField(null=True, editable=False)
    # Of the last start.
    retries_made = models.PositiveSmallIntegerField(default=0, db_default=0, editable=False)
    last_run = models.ForeignKey(
        JobRun, models.PROTECT, null=True, editable=False, related_name="schedules"
    )

    objects = ScheduleQuerySet.as_manager()

    class Meta:
        db_table = "schedule"
        ordering = ["job", "id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(job__in=JobCode.values), name="scheduled_job_is_known"
            ),
            models.CheckConstraint(
                condition=(
                    ~Q(cron="") & Q(every_minutes__isnull=True, is_continuous=False)
                    # A range alone would accept NULL.
                    | Q(cron="", every_minutes__isnull=False, is_continuous=False)
                    & Q(every_minutes__range=(1, MINUTES_A_DAY))
                    | Q(cron="", every_minutes__isnull=True, is_continuous=True)
                ),
                name="a_schedule_says_when_in_one_way",
            ),
            models.CheckConstraint(
                condition=Q(is_continuous=False) | Q(job__in=CONTINUOUS_JOBS),
                name="only_jobs_that_are_soon_done_are_continuous",
            ),
            models.CheckConstraint(
                condition=Q(first_day__isnull=True)
                | Q(last_day__isnull=True)
                | Q(first_day__lte=F("last_day")),
                name="a_schedule_ends_after_it_begins",
                violation_error_message="Its last day is before its first.",
            ),
            models.CheckConstraint(
                condition=Q(retries__lte=MAX_RETRIES), name="retries_have_a_limit"
            ),
            models.CheckConstraint(
                condition=Q(paused_at__isnull=True, paused_by__isnull=True, pause_reason="")
                | (Q(paused_at__isnull=False) & ~Q(pause_reason="")),
                name="schedules_are_paused_for_a_reason",
            ),
            models.CheckConstraint(
                condition=Q(next_start_at__isnull=True)
                | Q(is_enabled=True, paused_at__isnull=True, planned_at__isnull=False),
                name="a_schedule_that_is_off_has_no_next_start",
            ),
        ]
        indexes = [
            # Every second the scheduler asks what is due.
            models.Index(
                fields=["next_start_at"],
                condition=Q(next_start_at__isnull=False),
                name="schedule_due",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.job} {self.rhythm}"

    def get_absolute_url(self) -> str:
        return reverse("schedule", args=[self.pk])

    # ------------------------------------------------------------- when it starts

    def plan(self, now: datetime) -> None:
        """Set the next start, seen from now. Does not save."""
        self.planned_at = now
        self.next_start_at = None
        if self.is_enabled and self.paused_at is None:
            self.next_start_at = self.in_its_days(self.first_start(now))

    def first_start(self, now: datetime) -> datetime:
        """The next start after it was made, changed or resumed, on whatever day."""
        if self.cron:
            just_before = self.begins_at - timedelta(seconds=1) if self.begins_at else now
            return cron.next_time(self.cron, self.time_zone, max(now, just_before))
        # A start in the future was noted by a clock that has been set back since.
        if self.is_continuous or self.started_at is None or self.started_at > now:
            return now
        return max(now, self.started_at + self.interval)

    def start_after(self, start: datetime, now: datetime) -> datetime | None:
        """The first start after now that follows this one; None after its last day."""
        if self.cron:
            return self.in_its_days(cron.next_time(self.cron, self.time_zone, now))
        if self.is_continuous:
            return self.in_its_days(now + continuous_pause())
        passed = (now - start) // self.interval + 1
        return self.in_its_days(start + passed * self.interval)

    def in_its_days(self, start: datetime) -> datetime | None:
        """The start, not before its first day; None after its last."""
        if self.begins_at:
            start = max(start, self.begins_at)
        return None if self.ends_at and start >= self.ends_at else start

    @property
    def interval(self) -> timedelta:
        return timedelta(minutes=self.every_minutes or 0)

    @property
    def begins_at(self) -> datetime | None:
        """The moment before its first day."""
        return self.midnight(self.first_day) if self.first_day else None

    @property
    def ends_at(self) -> datetime | None:
        """The end of its last day."""
        return self.midnight(self.last_day + timedelta(days=1)) if self.last_day else None

    def midnight(self, day: date) -> datetime:
        return datetime.combine(day, time.min, tzinfo=ZoneInfo(self.time_zone)).astimezone(UTC)

    @property
    def next_start(self) -> datetime | None:
        """The next start in its time zone."""
        return self.next_start_at and self.next_start_at.astimezone(ZoneInfo(self.time_zone))

    @property
    def next_starts(self) -> list[datetime]:
        """The next five starts, in its time zone; of a continuous one only the next is known."""
        starts: list[datetime] = []
        start = self.next_start_at
        while start and len(starts) < (1 if self.is_continuous else NEXT_SHOWN):
            starts.append(start.astimezone(ZoneInfo(self.time_zone)))
            start = self.start_after(start, start)
        return starts

    def is_late(self, now: datetime) -> bool:
        """Whether its start should have been made a while ago, at most one interval."""
        start = self.next_start_at
        if start is None or start > now:
            return False
        if self.is_continuous:
            if self.last_run is None:
                return now - start > LATE_AFTER
            ended_at = self.last_run.ended_at
            return ended_at is not None and now - ended_at > continuous_pause() + LATE_AFTER
        following = self.start_after(start, start)
        return now - start > patience(following - start if following else LATE_AFTER)

    def missed_before(self, now: datetime) -> tuple[datetime | None, datetime | None]:
        """Since before when something must wait to have missed one start, and two.

        A start is missed once it is late, and its run has had the time that the last one took.
        Shape: None if it has not started so often yet.
        """
        if self.is_continuous:
            interval = max(continuous_pause() + self.run_time(now), LATE_AFTER)
            return now - interval, now - 2 * interval
        moment = now - self.run_time(now)
        if self.every_minutes:
            start = moment - patience(self.interval)
            starts = [start, start - self.interval]
            waited = self.interval
        else:
            latest = cron.last_time(self.cron, self.time_zone, moment - RESTART)
            following = cron.next_time(self.cron, self.time_zone, latest)
            start = cron.last_time(self.cron, self.time_zone, moment - patience(following - latest))
            starts = [start, cron.last_time(self.cron, self.time_zone, start)]
            waited = timedelta()
        once, twice = (
            start - waited if self.begins_at is None or start >= self.begins_at else None
            for start in starts
        )
        return once, twice

    def run_time(self, now: datetime) -> timedelta:
        """How long its last run took, or has taken up to now."""
        run = self.last_run
        if run is None or run.started_at is None:
            return timedelta()
        return max((run.ended_at or now) - run.started_at, timedelta())

    def visits(self, now: datetime) -> Visits:
        """Which databases its run visits: the next run takes what it leaves, if that comes soon."""
        comes_soon = self.next_start_at is not None and self.next_start_at <= now + SOON
        if comes_soon and self.job in RECURRING_JOBS:
            return Visits.QUICK
        return Visits.READY if comes_soon and self.job in CONFIGURATION_JOBS else Visits.ALL

    # ------------------------------------------------------------- what is done to it

    def save_settings(self, now: datetime, *, by: Any = None, is_new_time: bool = True) -> None:
        """Save what people set, and plan its next start if they have changed when that is.

        What the scheduler notes of a saved schedule stays as it is. Saves in the caller's
        transaction, which has locked the schedule unless it is new.
        """
        self.changed_at, self.changed_by = now, by
        fields = [*SETTINGS, "changed_at", "changed_by"]
        if is_new_time:
            self.plan(now)
            fields += ["planned_at", "next_start_at"]
        self.save(update_fields=None if self._state.adding else fields)

    def claim_start(self, now: datetime) -> bool:
        """Note a start that is due, or a retry, and plan the next start.

        Returns False if there is none to make: it was missed and is skipped, or the schedule has
        changed since it was read, as when another process has claimed it.
        """
        start = self.next_start_at
        if self.planned_at and self.planned_at > now:
            # By a clock that has been set back since.
            self.move_on(now, next_start_at=self.in_its_days(self.first_start(now)))
            return False
        if start is None or start > now:
            return self.claim_retry()
        following = self.start_after(start, now)
        if self.is_late(now) and not self.catches_up:
            self.move_on(now, next_start_at=following, skipped_at=start)
            return False
        return self.move_on(now, next_start_at=following, started_at=now, retries_made=0)

    def move_on(self, now: datetime, **noted: Any) -> bool:
        """Note these values, if the next start is still the one that was read."""
        as_read = Schedule.objects.switched_on().filter(
            pk=self.pk, next_start_at=self.next_start_at, planned_at=self.planned_at
        )
        noted["planned_at"] = now
        for name, value in noted.items():
            setattr(self, name, value)
        return bool(as_read.update(**noted))

    def claim_retry(self) -> bool:
        as_read = Schedule.objects.switched_on().filter(
            pk=self.pk, last_run=self.last_run_id, retries_made=self.retries_made
        )
        return bool(as_read.update(retries_made=F("retries_made") + 1))

    def pause(self, now: datetime, reason: str, *, by: Any = None) -> bool:
        """Let it start nothing until it is resumed. Returns False if it is paused already."""
        running = Schedule.objects.filter(pk=self.pk, paused_at=None)
        return bool(
            running.update(paused_at=now, paused_by=by, pause_reason=reason, next_start_at=None)
        )

    def resume(self, now: datetime) -> bool:
        """End the pause; its starts are not made up for. Returns False if there is none."""
        with transaction.atomic():
            self.lock()
            if self.paused_at is None:
                return False
            self.paused_at, self.paused_by, self.pause_reason = None, None, ""
            self.plan(now)
            pause = ("paused_at", "paused_by", "pause_reason")
            self.save(update_fields=[*pause, "planned_at", "next_start_at"])
        return True

    def lock(self) -> None:
        """Read again what others may have noted, and let nobody change it until the commit."""
        noted = ["paused_at", "paused_by", "pause_reason", "started_at"]
        locked = Schedule.objects.select_for_update()
        self.refresh_from_db(fields=noted, from_queryset=locked)

    # ------------------------------------------------------------- in words

    @property
    def rhythm(self) -> str:
        """When it starts, for people."""
        if self.cron:
            return f"{cron.in_words(self.cron)} {self.time_zone}"
        if self.is_continuous:
            pause = counted(parameter(ParameterName.PIPELINE_PAUSE), "second")
            return f"{pause} after it ends"
        return "every minute" if self.every_minutes == 1 else f"every {self.every_minutes} minutes"

    @property
    def state(self) -> str:
        """Whether it starts anything: on, or why not."""
        if not self.is_enabled:
            return "off"
        if self.paused_at:
            return "paused"
        return "on" if self.next_start_at else "over"

    @property
    def about(self) -> str:
        """The channels that it is for, in words."""
        names = [channel.code for channel in self.channels.all()]
        names += [f"group {group}" for group in self.groups.all()]
        return ", ".join(names) or "all"

    @property
    def is_for_all(self) -> bool:
        """Whether it is for every channel, as the promises always are."""
        return self.job == JobCode.VERIFY or not (self.channels.all() or self.groups.all())

    @property
    def is_whole_pipeline(self) -> bool:
        """Whether it starts one pipeline after the other, for every channel."""
        return self.is_continuous and self.job == JobCode.PIPELINE and self.is_for_all

    @property
    def codes(self) -> list[str] | None:
        """The channels that it is for, of those that are switched on; None: every channel."""
        if self.is_for_all:
            return None
        own = [channel.pk for channel in self.channels.all()]
        groups = [group.pk for group in self.groups.all()]
        is_meant = Q(pk__in=own) | Q(databases__group__in=groups, databases__is_enabled=True)
        channels = Channel.objects.filter(is_meant, is_enabled=True)
        return sorted(set(channels.values_list("code", flat=True)))


# What a new installation has. The migrations make them, too.
DEFAULTS: tuple[dict[str, Any], ...] = (
    {"job": JobCode.PIPELINE, "is_continuous": True},
    {"job": JobCode.CHANNEL_CONFIGURATION, "every_minutes": 10},
    {"job": JobCode.GLOBAL_CONFIGURATION, "every_minutes": 10},
    {"job": JobCode.VERIFY, "cron": "0 2 * * *"},
    {"job": JobCode.RECONCILE, "cron": "30 2 * * *"},
)


def restore_scheduler(now: datetime) -> tuple[list[Schedule], list[SchedulerJob]]:
    """Add the schedules and scheduler jobs of a new installation that are missing.

    What is there stays as it is, also if it is switched off, paused or set otherwise. Returns what
    is new: nothing the second time.
    """
    with transaction.atomic():
        lock_schedules()
        return Schedule.objects.restore_defaults(now), SchedulerJob.objects.restore_missing()
