"""Schedules: jobs that start by themselves, once a day or every few minutes."""

from datetime import UTC, datetime, timedelta
from typing import Self

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import ExpressionWrapper, F, Q, Value
from django.utils import timezone

from stores.models.channel import Channel, ChannelDatabaseGroup
from stores.models.job import SCHEDULED_JOBS, JobCode
from stores.models.run import JobRun, RunStatus

MINUTES_A_DAY = 24 * 60
# A daily run that did not do everything is tried again this long after it ended.
RETRY_AFTER = timedelta(minutes=15)
MINUTE = Value(timedelta(minutes=1))


class ScheduleQuerySet(models.QuerySet["Schedule"]):
    def due(self, now: datetime) -> Self:
        """Daily schedules not started today, and recurring ones whose pause is over."""
        not_today = Q(started_on=None) | ~Q(started_on=now.date())
        daily_is_due = Q(not_today, at__lte=now.time())
        # A start in the future was noted by a clock that has been set back since.
        never_started = Q(started_at=None) | Q(started_at__gt=now)
        pause = ExpressionWrapper(F("every_minutes") * MINUTE, models.DurationField())
        pause_is_over = Q(started_at__lte=Value(now, models.DateTimeField()) - pause)
        recurring_is_due = Q(never_started | pause_is_over, every_minutes__isnull=False)
        return self.filter(daily_is_due | recurring_is_due, is_enabled=True)

    def to_retry(self, now: datetime) -> Self:
        """Daily schedules whose run of the last day did not do all, and ended a while ago."""
        return self.filter(
            is_enabled=True,
            at__isnull=False,
            started_at__gt=now - timedelta(days=1),
            # Another scheduler that has claimed the retry has noted it here, before its run.
            started_at__lte=now - RETRY_AFTER,
            last_run__status__in=[RunStatus.PARTLY, RunStatus.FAILED, RunStatus.BUSY],
            last_run__ended_at__lte=now - RETRY_AFTER,
        )


class Schedule(models.Model):
    """When a job starts, by HQ's database clock, which keeps UTC, and for which channels.

    People make and delete schedules. The scheduler notes each start before it makes it, so that of
    several schedulers only one does.
    """

    id = models.BigAutoField(primary_key=True)
    job = models.CharField(
        max_length=40, choices=[(job.value, job.label) for job in SCHEDULED_JOBS]
    )
    channel = models.ForeignKey(
        Channel,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="schedules",
        help_text="The only channel it runs for; empty for all channels.",
    )
    group = models.ForeignKey(
        ChannelDatabaseGroup,
        models.PROTECT,
        null=True,
        blank=True,
        related_name="schedules",
        help_text="For the channels that have a database in this group.",
    )
    is_enabled = models.BooleanField(default=True, help_text="If off, it starts only by hand.")
    at = models.TimeField(
        "every day at",
        null=True,
        blank=True,
        help_text="Time of day in UTC. If missed, it starts as soon as possible.",
    )
    every_minutes = models.PositiveIntegerField(
        null=True,
        blank=True,
        validators=[MinValueValidator(1), MaxValueValidator(MINUTES_A_DAY)],
        help_text="Instead of a time of day: from one start to the next.",
    )
    # The day, in UTC, of the last start of a daily schedule. It starts once a day.
    started_on = models.DateField(null=True, blank=True, editable=False)
    started_at = models.DateTimeField(null=True, editable=False)
    last_run = models.ForeignKey(
        JobRun, models.PROTECT, null=True, editable=False, related_name="schedules"
    )

    objects = ScheduleQuerySet.as_manager()

    class Meta:
        db_table = "schedule"
        ordering = ["at", "job", "id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(job__in=[job.value for job in SCHEDULED_JOBS]),
                name="scheduled_job_is_known",
            ),
            models.CheckConstraint(
                condition=Q(at__isnull=False, every_minutes__isnull=True)
                | Q(
                    at__isnull=True,
                    # A range alone would accept NULL.
                    every_minutes__isnull=False,
                    every_minutes__range=(1, MINUTES_A_DAY),
                ),
                name="a_schedule_is_daily_or_recurring",
                violation_error_message="Give either a time of day or minutes from start to start.",
            ),
            models.CheckConstraint(
                condition=Q(channel__isnull=True) | Q(group__isnull=True),
                name="a_schedule_is_for_a_channel_or_a_group",
                violation_error_message="Choose a channel or a group, not both.",
            ),
            models.CheckConstraint(
                condition=~Q(job=JobCode.VERIFY) | Q(channel__isnull=True, group__isnull=True),
                name="promises_are_checked_everywhere",
                violation_error_message="Promises are checked in all channels: choose none.",
            ),
            models.UniqueConstraint(
                fields=["job", "channel", "group", "at", "every_minutes"],
                nulls_distinct=False,
                name="nothing_is_scheduled_twice",
                violation_error_message="This schedule already exists.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.job} {self.rhythm}"

    def claim_start(self, now: datetime) -> bool:
        """Note the start that is due, or a retry. Returns False if another process has."""
        due = Schedule.objects.due(now).filter(pk=self.pk)
        if due.update(started_on=now.date(), started_at=now):
            return True
        retry = Schedule.objects.to_retry(now).filter(pk=self.pk)
        return bool(retry.update(started_at=now))

    def skip_past_start(self, now: datetime) -> None:
        """Let a schedule that is saved now begin with its next time, not with one already past.

        Counts today's start as done if its time is over. Does not save.
        """
        is_over = self.at is not None and self.at <= now.time()
        self.started_on = now.date() if is_over else None

    @property
    def rhythm(self) -> str:
        """When it starts, for people."""
        if self.at is not None:
            return f"every day at {self.at:%H:%M} UTC"
        return "every minute" if self.every_minutes == 1 else f"every {self.every_minutes} minutes"

    @property
    def codes(self) -> list[str] | None:
        """The channels that it is for, of those that are switched on; None: every channel."""
        channels = Channel.objects.filter(is_enabled=True)
        if self.channel_id:
            channels = channels.filter(pk=self.channel_id)
        elif self.group_id:
            channels = channels.filter(databases__group=self.group_id, databases__is_enabled=True)
        else:
            return None
        return sorted(set(channels.values_list("code", flat=True)))

    @property
    def next_start(self) -> datetime | None:
        """When it starts next; in the past while a start is due and no scheduler has come by."""
        if not self.is_enabled:
            return None
        now = timezone.now()
        if self.at is None:
            # As in due(): a start in the future does not count.
            if self.started_at is None or self.started_at > now:
                return now
            return self.started_at + timedelta(minutes=self.every_minutes or 0)
        day = now.date() + timedelta(days=1) if self.started_on == now.date() else now.date()
        return datetime.combine(day, self.at, tzinfo=UTC)
