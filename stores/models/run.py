"""The ledger of runs. PostgreSQL holds the truth about every run; the queue only rings."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Self

from django.conf import settings
from django.db import connection, models, transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce, Now
from django.urls import reverse

from stores.models.channel import ChannelDatabase
from stores.models.company import Company


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


LIVE = (RunStatus.QUEUED, RunStatus.RUNNING)
# Beside the choices, so that word and colour of a status are decided in one place.
COLOURS = {
    RunStatus.QUEUED: "secondary",
    RunStatus.RUNNING: "primary",
    RunStatus.SUCCEEDED: "success",
    RunStatus.NOTHING_TO_DO: "success",
    RunStatus.PARTLY: "warning",
    RunStatus.FAILED: "danger",
    RunStatus.BUSY: "warning",
    RunStatus.CANCELLED: "secondary",
    RunStatus.LOST: "danger",
}


class StartedBy(models.TextChoices):
    PAGE = "page", "Page"
    ADMIN = "admin", "Admin"
    COMMAND = "command", "Command"
    SCHEDULE = "schedule", "Schedule"


class RunLost(Exception):
    """Another process has taken this run over, or ended it."""


class RunCancelled(Exception):
    """Somebody asked the run to stop."""


class JobRunQuerySet(models.QuerySet["JobRun"]):
    def live(self) -> Self:
        """Waiting for a worker, or running."""
        return self.filter(status__in=LIVE)

    def newest_first(self) -> Self:
        return self.order_by("-created_at", "pk")

    def claim(self, run_id: uuid.UUID) -> "JobRun | None":
        """Make a queued run ours, or None: another process has it, or it has ended.

        Effects: status, start, lease and a new fencing number; committed by the caller.
        """
        claimed = self.filter(pk=run_id, status=RunStatus.QUEUED).update(
            status=RunStatus.RUNNING,
            started_at=Now(),
            heartbeat_at=Now(),
            lease_until=Now() + lease(),
            fencing_no=next_fencing_number(),
        )
        return self.get(pk=run_id) if claimed else None


def lease() -> timedelta:
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
    def colour(self) -> str:
        return COLOURS[RunStatus(self.status)]

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
    started_by = models.CharField(
        max_length=8, choices=StartedBy.choices, default=StartedBy.COMMAND
    )
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+"
    )
    attempt = models.PositiveIntegerField(default=1)
    successor_of = models.ForeignKey("self", models.PROTECT, null=True, related_name="successors")
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

    class Meta:
        db_table = "job_run"
        constraints = [
            models.UniqueConstraint(
                fields=["job", "scope"],
                condition=Q(status__in=LIVE),
                name="one_live_run_per_job_and_scope",
            ),
            models.CheckConstraint(
                condition=Q(status__in=RunStatus.values), name="run_status_is_known"
            ),
            models.CheckConstraint(
                condition=Q(status__in=LIVE, ended_at__isnull=True)
                | (~Q(status__in=LIVE) & Q(ended_at__isnull=False)),
                name="a_run_has_an_end_once_it_ended",
            ),
        ]
        indexes = [models.Index(fields=["-created_at", "id"], name="job_run_newest")]
        permissions = [("run_job", "Can run jobs")]

    def __str__(self) -> str:
        return f"{self.job} {self.short_id}"

    def get_absolute_url(self) -> str:
        return reverse("run", args=[self.pk])

    @property
    def short_id(self) -> str:
        return str(self.pk)[:8]

    @property
    def is_final(self) -> bool:
        """Ended, one way or another."""
        return self.status not in LIVE

    def breathe(self) -> None:
        """Say that the run lives, inside the transaction that is about to write.

        Errors: RunLost when the run is no longer ours, and then nothing may be written;
        RunCancelled when somebody asked it to stop.
        """
        mine = JobRun.objects.filter(
            pk=self.pk, fencing_no=self.fencing_no, status=RunStatus.RUNNING
        )
        if not mine.update(heartbeat_at=Now(), lease_until=Now() + lease()):
            raise RunLost
        if mine.filter(cancel_requested_at__isnull=False).exists():
            raise RunCancelled

    def ask_to_stop(self) -> bool:
        """Ask for a stop at the next chunk; a waiting run ends at once. Says whether it lived."""
        waiting = JobRun.objects.filter(pk=self.pk, status=RunStatus.QUEUED)
        if waiting.update(status=RunStatus.CANCELLED, ended_at=Now(), message="Cancelled."):
            return True
        running = JobRun.objects.filter(pk=self.pk, status=RunStatus.RUNNING)
        return bool(running.update(cancel_requested_at=Now()))

    def end(self, status: str, message: str, *, counts: dict[str, int], error: str = "") -> None:
        """Close the run, unless it is no longer ours."""
        mine = JobRun.objects.filter(pk=self.pk, fencing_no=self.fencing_no, status__in=LIVE)
        if mine.update(status=status, message=message, counts=counts, error=error, ended_at=Now()):
            self.refresh_from_db()


class RunStep(Outcome):
    """One step of a run on one channel database or one company, with its own outcome."""

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(JobRun, models.CASCADE, related_name="steps")
    position = models.PositiveIntegerField()
    step = models.CharField(max_length=40)
    database = models.ForeignKey(
        ChannelDatabase, models.PROTECT, null=True, db_index=False, related_name="+"
    )
    company = models.ForeignKey(
        Company, models.PROTECT, null=True, db_index=False, related_name="+"
    )
    counts = models.JSONField(default=dict)
    message = models.CharField(max_length=500, blank=True)

    # A dry run reads and computes all, and writes neither to channels nor, in the end, to HQ.
    is_dry = False

    class Meta:
        db_table = "run_step"
        ordering = ["run", "position"]
        constraints = [
            models.UniqueConstraint(fields=["run", "position"], name="one_step_per_position"),
            models.CheckConstraint(
                condition=Q(status__in=RunStatus.values), name="step_status_is_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.step} {self.place}"

    @property
    def place(self) -> str:
        """The channel database or company that the step works on."""
        return self.database.label if self.database else str(self.company_id or "")

    @property
    def its_database(self) -> ChannelDatabase:
        """The database of a step that is done once per database."""
        if self.database is None:
            raise TypeError(f"{self.step} is not done per database")
        return self.database

    @property
    def its_company(self) -> Company:
        """The company of a step that is done once per company."""
        if self.company is None:
            raise TypeError(f"{self.step} is not done per company")
        return self.company

    @property
    def lock_name(self) -> str:
        """What must not overlap with any other run: the step on its database or company."""
        return f"{self.step}:{self.database_id or self.company_id}"

    @contextmanager
    def chunk(self) -> Iterator[None]:
        """One HQ transaction of the run: refused when the run is lost or asked to stop.

        The counts added inside are committed with the rows they count.
        """
        before = dict(self.counts)
        try:
            with transaction.atomic():
                self.run.breathe()
                yield
                if self.counts != before:
                    RunStep.objects.filter(pk=self.pk).update(counts=self.counts)
        except BaseException:
            self.counts = before
            raise

    def add(self, **counts: int) -> None:
        """Count rows, in the words of the contract; inside chunk()."""
        found: dict[str, Any] = dict(self.counts)
        for word, rows in counts.items():
            if rows:
                found[word] = found.get(word, 0) + rows
        self.counts = found

    def begin(self) -> None:
        self.status = RunStatus.RUNNING
        RunStep.objects.filter(pk=self.pk).update(status=self.status, started_at=Now())

    def finish(self, status: str, message: str = "") -> None:
        """Record the outcome; what the chunks counted stays."""
        self.status, self.message = status, message[:500]
        RunStep.objects.filter(pk=self.pk).update(
            status=status,
            message=self.message,
            ended_at=Now(),
            started_at=Coalesce(F("started_at"), Now()),
        )
        self.refresh_from_db(fields=["started_at", "ended_at"])
