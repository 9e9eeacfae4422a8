"""The ledger of runs. PostgreSQL holds the truth about every run; the queue only wakes workers."""

import uuid
from datetime import timedelta
from typing import Self

from django.conf import settings
from django.db import connection, models
from django.db.models import Func, Q, QuerySet, TextField, Value
from django.db.models.functions import Concat, Now
from django.urls import reverse

from stores.models.job import RECURRING_JOBS
from stores.models.transaction import RetailTransaction


class RunStatus(models.TextChoices):
    QUEUED = "queued", "Queued"
    RUNNING = "running", "Running"
    SUCCEEDED = "succeeded", "Succeeded"
    NOTHING_TO_DO = "nothing_to_do", "Nothing to do"
    PARTLY = "partly", "Partly"
    FAILED = "failed", "Failed"
    BUSY = "busy", "Busy"
    CANCELLED = "cancelled", "Cancelled"
    LOST = "lost", "Lost"


LIVE_STATUSES = (RunStatus.QUEUED, RunStatus.RUNNING)
# Rows that a run left behind; its outcome alone does not tell of them.
LEFT_BEHIND = ("failed", "quarantined")


class StartedBy(models.TextChoices):
    PAGE = "page", "Page"
    ADMIN = "admin", "Admin"
    COMMAND = "command", "Command"
    SCHEDULE = "schedule", "Schedule"


class RunLost(Exception):
    """Another process has taken this run over, or ended it."""


class RunCancelled(Exception):
    """Somebody asked the run to stop."""


class StepFailed(Exception):
    """A step did its work and what it found is not well; the message is the sentence for people."""


class ClockTime(Func):
    """The moment by HQ's own clock; now() would be when the transaction began."""

    function = "clock_timestamp"
    output_field = models.DateTimeField()


class JobRunQuerySet(models.QuerySet["JobRun"]):
    def live(self) -> Self:
        return self.filter(status__in=LIVE_STATUSES)

    def newest_first(self) -> Self:
        return self.order_by("-created_at", "-pk")

    def claim(self, run_id: uuid.UUID, worker: str = "") -> "JobRun | None":
        """Make a queued run ours to lead, or None: another process has it, or it has ended.

        Effects: status, start, lease and a new fencing number; committed by the caller.
        """
        claimed = self.filter(pk=run_id, status=RunStatus.QUEUED).update(
            status=RunStatus.RUNNING,
            worker=worker,
            started_at=ClockTime(),
            heartbeat_at=ClockTime(),
            lease_until=ClockTime() + lease_duration(),
            fencing_no=next_fencing_number(),
        )
        return self.get(pk=run_id) if claimed else None


def lease_duration() -> timedelta:
    """How long a run may be silent before others may take it over."""
    return timedelta(seconds=settings.RUN_LEASE_S)


def next_fencing_number() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('job_run_fencing')")
        return int(cursor.fetchone()[0])


class Outcome(models.Model):
    """What a run and each of its steps have: a status, a beginning and an end."""

    status = models.CharField(max_length=13, choices=RunStatus.choices, default=RunStatus.QUEUED)
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True

    @property
    def verdict(self) -> str:
        """The status in words, with the rows that a run which ended well left behind."""
        word = str(RunStatus(self.status).label)
        counts = getattr(self, "counts", {})
        if self.status == RunStatus.NOTHING_TO_DO:
            remaining = self.remaining_counts(*LEFT_BEHIND, "waiting")
            word = "Nothing done" if remaining else word
        elif self.status == RunStatus.SUCCEEDED:
            remaining = self.remaining_counts(*LEFT_BEHIND)
        else:
            remaining = []
        return ", ".join([word, *(f"{counts[name]:,} {name}" for name in remaining)])

    def remaining_counts(self, *words: str) -> list[str]:
        """Those of the words that count rows of it."""
        counts = getattr(self, "counts", {})
        return [word for word in words if counts.get(word)]

    @property
    def seconds(self) -> float | None:
        """How long it took, or None while it runs or when it never started."""
        if self.started_at is None or self.ended_at is None:
            return None
        return round((self.ended_at - self.started_at).total_seconds(), 3)


class JobRun(Outcome):
    """One started job: all its steps on all its channels."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    job = models.CharField(max_length=40)
    scope = models.CharField(max_length=500, default="*", help_text="Its channels; *: all.")
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
    attempt = models.PositiveIntegerField(default=1)
    successor_of = models.ForeignKey("self", models.PROTECT, null=True, related_name="successors")
    # Whoever leads it; others may help.
    worker = models.CharField(max_length=60, blank=True, db_default="")
    fencing_no = models.BigIntegerField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    rung_at = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True)
    cancel_requested_at = models.DateTimeField(null=True)
    counts = models.JSONField(default=dict)
    message = models.CharField(max_length=500, blank=True)
    error = models.TextField(blank=True, help_text="Technical detail of an unforeseen failure.")

    objects = JobRunQuerySet.as_manager()

    # A dry run, of which nothing stays.
    is_dry = False

    class Meta:
        db_table = "job_run"
        constraints = [
            models.UniqueConstraint(
                fields=["job", "scope"],
                condition=Q(status__in=LIVE_STATUSES),
                name="one_live_run_per_job_and_scope",
            ),
            models.CheckConstraint(
                condition=Q(status__in=RunStatus.values), name="run_status_is_known"
            ),
            models.CheckConstraint(
                condition=Q(status__in=LIVE_STATUSES, ended_at__isnull=True)
                | (~Q(status__in=LIVE_STATUSES) & Q(ended_at__isnull=False)),
                name="a_run_has_an_end_once_it_ended",
            ),
        ]
        indexes = [
            models.Index(fields=["created_at", "id"], name="job_run_newest"),
            # The latest run of each job, however long ago.
            models.Index(fields=["job", "created_at", "id"], name="job_run_newest_of_job"),
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
        named = [*self.channels, *(f"company {code}" for code in self.companies)]
        words = [summarize_codes(named) or "all channels"]
        words += [f"business date {self.business_date}"] if self.business_date else []
        words += [f"order {self.order_number}"] if self.order_number else []
        return ", ".join(words)

    @property
    def is_recurring(self) -> bool:
        """Whether a schedule starts it again in a moment: the next run takes what this leaves."""
        return self.started_by == StartedBy.SCHEDULE and self.job in RECURRING_JOBS

    @property
    def is_final(self) -> bool:
        return self.status not in LIVE_STATUSES

    @property
    def is_ours(self) -> bool:
        """Whether it is still led by the process that claimed it as this object says."""
        claims = JobRun.objects.filter(pk=self.pk, fencing_no=self.fencing_no)
        return claims.filter(status=RunStatus.RUNNING).exists()

    def request_cancel(self) -> bool:
        """Ask for a stop at the next chunk; a waiting run ends at once. Says whether it lived."""
        waiting = JobRun.objects.filter(pk=self.pk, status=RunStatus.QUEUED)
        if waiting.update(status=RunStatus.CANCELLED, ended_at=ClockTime(), message="Cancelled."):
            return True
        running = JobRun.objects.filter(pk=self.pk, status=RunStatus.RUNNING)
        return bool(running.update(cancel_requested_at=ClockTime()))

    def end(self, status: str, message: str, counts: dict[str, int]) -> bool:
        """Close the run, unless it is no longer ours. Says whether it was."""
        claims = JobRun.objects.filter(
            pk=self.pk, fencing_no=self.fencing_no, status__in=LIVE_STATUSES
        )
        ended = claims.update(status=status, message=message, counts=counts, ended_at=ClockTime())
        return bool(ended)

    def append_detail(self, text: str) -> None:
        """Add technical detail to what is there; several workers may have some."""
        added = Concat("error", Value(text), output_field=TextField())
        JobRun.objects.filter(pk=self.pk).update(error=added)


def summarize_codes(codes: list[str]) -> str:
    more = f" and {len(codes) - 5} more" if len(codes) > 5 else ""
    return ", ".join(codes[:5]) + more
