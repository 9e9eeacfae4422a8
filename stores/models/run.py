"""The ledger of runs. PostgreSQL holds the truth about every run; the queue only wakes workers."""

import uuid
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Func, Q, QuerySet, TextField, Value
from django.db.models.functions import Concat, Now
from django.urls import reverse

from stores.messages.field import MessageField
from stores.messages.message import Message, count_of
from stores.models.channel import database_label
from stores.models.parameter import ParameterName, parameter
from stores.models.transaction import RetailTransaction


class RunStatus(models.TextChoices):
    """Queued and running are live; a run or step with any other status has ended.

    Partly: some steps failed. Busy: another run was at work in the same place all the time.
    """

    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    SUCCEEDED = "succeeded", "Succeeded"
    NOTHING_TO_DO = "nothing_to_do", "Nothing to do"
    PARTLY = "partly", "Partly"
    FAILED = "failed", "Failed"
    BUSY = "busy", "Busy"
    CANCELLED = "cancelled", "Cancelled"


# The scope of a run that is not limited to channels, companies, a business date or an order.
EVERYTHING = "*"
LIVE_STATUSES = (RunStatus.QUEUED, RunStatus.RUNNING)
IS_LIVE = Q(status__in=LIVE_STATUSES)
# Words that mean that a run did something: those of the contract, and of the jobs that look.
EFFECT_COUNTS = (
    "staged",
    "quarantined",
    "converted",
    "updated",
    "linked",
    "distributed",
    "posted",
    "checked",
    "compared",
)
# Counts that are shown beside the status, because a run may succeed and still leave such rows.
LEFT_BEHIND = ("failed", "quarantined")


class StartedBy(models.TextChoices):
    PAGE = "page", "Page"
    ADMIN = "admin", "Admin"
    COMMAND = "command", "Command"
    SCHEDULE = "schedule", "Schedule"


class Visits(models.TextChoices):
    """Which of its channel databases a run visits.

    All of them, unless a schedule starts it often: then not those in trouble until their next try,
    and perhaps only the quick ones, so that slow ones have runs of their own.
    """

    ALL = "all", "All"
    READY = "ready", "Ready"
    QUICK = "quick", "Quick"
    SLOW = "slow", "Slow"


# A scheduler makes several of these a minute.
IS_IDLE = Q(started_by=StartedBy.SCHEDULE, status=RunStatus.NOTHING_TO_DO)


class RunLost(Exception):
    """Another process has taken this step over, or the run has ended."""


class RunCancelled(Exception):
    """Somebody asked the run to stop."""


class StepFailed(Exception):
    """A step did its work and what it found is not well; the message says what, for people."""

    def __init__(self, message: Message) -> None:
        super().__init__(message)
        self.message = message


STEPS_WITH_PLACES = """
    SELECT step.id, step.step, step.company_id, step.status, step.message, step.counts,
           step.started_at, step.ended_at, channel.code, database.name AS register
      FROM run_step step
      LEFT JOIN channel_database database ON database.id = step.database_id
      LEFT JOIN channel ON channel.id = coalesce(database.channel_id, step.channel_id)
     WHERE step.run_id = %s
     ORDER BY step.position"""


class ClockTime(Func):
    """The moment by HQ's own clock; now() would be when the transaction began."""

    function = "clock_timestamp"
    output_field = models.DateTimeField()


class JobRunQuerySet(models.QuerySet["JobRun"]):
    def live(self) -> Self:
        """Runs that have not ended."""
        return self.filter(IS_LIVE)

    def recent(self) -> Self:
        """Runs that are live, or ended a moment ago.

        One that ended in the future did so by a clock that has been set back since: long ago.
        """
        moment = ClockTime() - timedelta(seconds=parameter(ParameterName.PIPELINE_PAUSE))
        return self.filter(IS_LIVE | Q(ended_at__gt=moment, ended_at__lte=ClockTime()))

    def delete_idle(self) -> None:
        """Remove scheduled runs that found nothing to do: there are thousands a day.

        The latest run of a schedule stays, so that people see that it works.
        """
        moment = ClockTime() - timedelta(seconds=parameter(ParameterName.IDLE_RUNS_KEPT))
        self.filter(
            IS_IDLE,
            ended_at__lt=moment,
            schedules=None,
            uploadsessions=None,
            downloadsessions=None,
            packages=None,
        ).delete()

    def newest_first(self) -> Self:
        return self.order_by("-created_at", "-pk")

    def locked(self, run_id: uuid.UUID) -> "JobRun":
        """The run, held until the transaction ends: what moves a run on happens one by one.

        Rows that refer to the run can be written all the while. Whoever locks steps of it, too,
        locks the run first.
        """
        [run] = self.raw("SELECT * FROM job_run WHERE id = %s FOR NO KEY UPDATE", [run_id])
        return run


class Outcome(models.Model):
    """What a run and each of its steps have: how it went, when, and what was done."""

    status = models.CharField(max_length=13, choices=RunStatus.choices, default=RunStatus.QUEUED)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    # The number of rows by what became of them, such as {"staged": 3, "failed": 1}.
    counts = models.JSONField(default=dict)
    message = MessageField()

    class Meta:
        abstract = True

    @property
    def verdict(self) -> str:
        """The status in words, with the rows that a run which ended well left behind."""
        word = str(RunStatus(self.status).label)
        if self.status == RunStatus.SUCCEEDED:
            return ", ".join([word, *self.nonzero_counts(*LEFT_BEHIND)])
        if self.status == RunStatus.NOTHING_TO_DO:
            left = self.nonzero_counts(*LEFT_BEHIND, "waiting")
            return ", ".join(["Nothing done", *left]) if left else word
        return word

    @property
    def has_effect(self) -> bool:
        """Whether it did something, by what it counted."""
        return any(self.counts.get(word) for word in EFFECT_COUNTS)

    def nonzero_counts(self, *words: str) -> list[str]:
        """The counts of those words that are not zero, such as "3 failed"."""
        return [str(count_of(word, self.counts[word])) for word in words if self.counts.get(word)]

    @property
    def seconds(self) -> float | None:
        """How long it took, or None while it runs or when it never started."""
        if self.started_at is None or self.ended_at is None:
            return None
        return round((self.ended_at - self.started_at).total_seconds(), 3)


class JobRun(Outcome):
    """One started job: all its steps on all its channels.

    Starting a job writes it with its steps. It stays as the record of what was done; only runs of
    schedules that found nothing to do are deleted, after some minutes.
    """

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    job = models.CharField(max_length=40)
    # The key of the constraint below, made of the four fields that follow, such as
    # "houston,date:2026-11-27".
    scope = models.CharField(max_length=500, default=EVERYTHING)
    # Codes of the only channels and companies that it visits; empty: all.
    channels = models.JSONField(default=list, blank=True)
    companies = models.JSONField(default=list, blank=True)
    business_date = models.DateField(
        null=True, blank=True, help_text="The only day whose sales it looks at; empty: every day."
    )
    order_number = models.CharField(
        max_length=50,
        blank=True,
        db_default="",
        help_text="The only customer order it looks at, by its confirmation number; empty: all.",
    )
    started_by = models.CharField(
        max_length=8, choices=StartedBy.choices, default=StartedBy.COMMAND
    )
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )
    visits = models.CharField(
        max_length=5, choices=Visits.choices, default=Visits.ALL, db_default=Visits.ALL
    )
    # The stage whose steps may be claimed; the later ones wait for it.
    stage = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField(db_default=Now())
    cancel_requested_at = models.DateTimeField(null=True)
    # When its visits that went well were forgotten; its counts say what they did.
    steps_removed_at = models.DateTimeField(null=True)
    error = models.TextField(blank=True, help_text="Technical detail of an unforeseen failure.")

    objects = JobRunQuerySet.as_manager()

    # Set while a dry run is executed, of which nothing stays. Not a column.
    is_dry = False

    class Meta:
        db_table = "job_run"
        constraints = [
            models.UniqueConstraint(
                fields=["job", "scope"], condition=IS_LIVE, name="one_live_run_per_job_and_scope"
            ),
            models.CheckConstraint(
                condition=Q(status__in=RunStatus.values), name="run_status_is_known"
            ),
            models.CheckConstraint(
                condition=(Q(ended_at__isnull=True) & IS_LIVE)
                | (~IS_LIVE & Q(ended_at__isnull=False)),
                name="a_run_has_an_end_once_it_ended",
            ),
            models.CheckConstraint(
                condition=Q(visits__in=Visits.values), name="visits_of_a_run_are_known"
            ),
        ]
        indexes = [
            models.Index(fields=["created_at", "id"], name="job_run_newest"),
            # The latest run of each job, however long ago.
            models.Index(fields=["job", "created_at", "id"], name="job_run_newest_of_job"),
            models.Index(
                fields=["ended_at"],
                condition=Q(steps_removed_at=None),
                name="job_run_with_steps",
            ),
        ]
        permissions = [("run_job", "Can run jobs"), ("control_job", "Can cancel runs")]

    def __str__(self) -> str:
        return f"{self.job} {self.short_id}"

    def get_absolute_url(self) -> str:
        return reverse("run", args=[self.pk])

    @property
    def short_id(self) -> str:
        return str(self.pk)[:8]

    @property
    def orders(self) -> QuerySet[RetailTransaction]:
        """The customer orders of its number: one, unless several channels have given the same."""
        return RetailTransaction.objects.orders_numbered(self.order_number, self.channels)

    @property
    def about(self) -> str:
        """What the run covers, in words."""
        named = [*self.channels, *(f"company {code}" for code in self.companies)]
        words = [summarize_codes(named) or "all channels"]
        words += [f"business date {self.business_date}"] if self.business_date else []
        words += [f"order {self.order_number}"] if self.order_number else []
        return ", ".join(words)

    @property
    def is_recurring(self) -> bool:
        """Whether a schedule soon starts it again: the next run takes what this leaves."""
        return self.visits != Visits.ALL

    @property
    def has_ended(self) -> bool:
        return self.status not in LIVE_STATUSES

    def as_dict(self) -> dict[str, Any]:
        """The run with its steps, as `run_job --json` prints it (contract, section 4)."""
        steps: Iterable[Any] = self.steps.raw(STEPS_WITH_PLACES, [self.pk])
        return {
            "run": str(self.pk),
            "job": self.job,
            "outcome": self.status,
            "message": str(self.message),
            "counts": self.counts,
            "seconds": self.seconds or 0.0,
            "steps": [
                {
                    "step": step.step,
                    "channel": step.code and database_label(step.code, step.register or ""),
                    "company": step.company_id,
                    "outcome": step.status,
                    "message": str(step.message),
                    "counts": step.counts,
                    "seconds": step.seconds or 0.0,
                }
                for step in steps
            ],
        }

    def as_busy_dict(self) -> dict[str, Any]:
        """The answer to a start while this run of the same job and scope is live."""
        message = f"{self.job} is already running ({self.short_id})."
        return self.as_dict() | {"outcome": RunStatus.BUSY.value, "message": message, "steps": []}

    def append_detail(self, text: str) -> None:
        """Add technical detail to what is there; several workers may have some."""
        added = Concat("error", Value(text), output_field=TextField())
        JobRun.objects.filter(pk=self.pk).update(error=added)


def summarize_codes(codes: list[str]) -> str:
    """The first five codes, and how many more there are."""
    more = f" and {len(codes) - 5} more" if len(codes) > 5 else ""
    return ", ".join(codes[:5]) + more
