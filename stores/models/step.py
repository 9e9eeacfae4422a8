"""One step of a run in one place, claimed by one worker at a time."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

from django.db import models, transaction
from django.db.models import F, Q

from stores.hqdb.sql import fetch, run_sql
from stores.messages.message import Message
from stores.models.channel import Channel, ChannelDatabase
from stores.models.company import Company
from stores.models.job import StepCode
from stores.models.parameter import ParameterName, parameter
from stores.models.run import (
    IS_LIVE,
    JobRun,
    Outcome,
    RunCancelled,
    RunLost,
    RunStatus,
)

# How many old runs lose their visits at once.
RUNS_PER_CHUNK = 20


class RunStepQuerySet(models.QuerySet["RunStep"]):
    def live(self) -> Self:
        """Steps that have not ended."""
        return self.filter(IS_LIVE)

    def claimed_as(self, step: "RunStep") -> Self:
        """The step's row, as long as no other worker has claimed it since."""
        return self.filter(pk=step.pk, fencing_no=step.fencing_no, status=RunStatus.RUNNING)

    def with_place(self) -> Self:
        """Select also the database, the channel or the company of each step."""
        return self.select_related("database__channel", "channel", "company")


class RunStep(Outcome):
    """One step of a run on one channel database or one company, with its own outcome.

    Planned when the run starts, and claimed by one worker at a time. A chunk locks only its own
    step's row, so that workers never wait for each other, and in a way that a heartbeat may pass
    and a takeover may not.
    """

    id = models.BigAutoField(primary_key=True)
    run = models.ForeignKey(JobRun, models.CASCADE, related_name="steps")
    position = models.PositiveIntegerField()
    # A StepCode: the catalogue of jobs says what it does, and in which kind of place.
    step = models.CharField(max_length=40)
    # Steps of a stage may be done at the same time; the next stage begins when all have ended.
    stage = models.PositiveSmallIntegerField(default=1)
    # Steps with the same turn are done one after the other, by one job of the queue.
    turn = models.PositiveIntegerField(default=1)
    # Its place is one of these three; none of them: everything.
    database = models.ForeignKey(
        ChannelDatabase, models.PROTECT, null=True, db_index=False, related_name="+"
    )
    channel = models.ForeignKey(
        Channel, models.PROTECT, null=True, db_index=False, related_name="+"
    )
    company = models.ForeignKey(
        Company, models.PROTECT, null=True, db_index=False, related_name="+"
    )
    # A new number with each claim. A worker with an older one has lost the step.
    fencing_no = models.BigIntegerField(null=True)
    worker = models.CharField(max_length=60, blank=True, db_default="")
    heartbeat_at = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True)
    # When its worker claimed it, or a chunk last counted something.
    moved_at = models.DateTimeField(null=True)
    # Since when it waits for another run to leave its place.
    busy_since = models.DateTimeField(null=True)
    # How often its worker died, or was silent beyond its lease.
    losses = models.PositiveSmallIntegerField(default=0)

    objects = RunStepQuerySet.as_manager()

    # When this process began with it, by its own clock.
    began_at = 0.0
    # Whether its channel was opened: what fails before is no fault of the channel.
    has_entered = False

    class Meta:
        db_table = "run_step"
        ordering = ["run", "position"]
        constraints = [
            models.UniqueConstraint(fields=["run", "position"], name="one_step_per_position"),
            models.CheckConstraint(
                condition=Q(status__in=RunStatus.values), name="step_status_is_known"
            ),
        ]
        indexes = [models.Index(fields=["run"], condition=IS_LIVE, name="live_steps")]

    def __str__(self) -> str:
        return f"{self.step} {self.place}"

    @property
    def place(self) -> str:
        """Where it is done, for people: a database, a channel, a company, or everything."""
        if self.database:
            return self.database.label
        return self.channel.code if self.channel else str(self.company_id or "everything")

    @property
    def its_database(self) -> ChannelDatabase:
        """The database of a step that is done per database. Errors: TypeError for others."""
        if self.database is None:
            raise TypeError(f"{self.step} is not done per database")
        return self.database

    @property
    def run_key(self) -> str | None:
        """The id of the run, for SQL that notes who wrote a row; None if the step is not saved."""
        return str(self.run_id) if self.run_id else None

    @property
    def lock_name(self) -> str:
        """What must not overlap with any other run: the step in its place."""
        if self.channel_id:
            return f"{self.step}:channel:{self.channel_id}"
        return f"{self.step}:{self.database_id or self.company_id or '*'}"

    @property
    def is_dry(self) -> bool:
        """Whether its run writes nothing to channels and rolls back what it wrote to HQ."""
        return self.run.is_dry

    @property
    def time_slice_used(self) -> bool:
        """Whether a step of a recurring run has had its time, and leaves the rest to the next run.

        So one channel with much to do cannot keep the others waiting.
        """
        spent_s = time.monotonic() - self.began_at
        return self.run.is_recurring and spent_s > parameter(ParameterName.VISIT_SHARE)

    @contextmanager
    def chunk(self, *, may_stop: bool = True) -> Iterator[None]:
        """One HQ transaction of the run: refused when the step is lost or the run asked to stop.

        The counts added inside are committed with the rows they count. `may_stop` is false where
        HQ notes what a channel has committed already. Errors: see require_ownership().
        """
        before = dict(self.counts)
        with self.counts_restored(), transaction.atomic():
            self.require_ownership(may_stop=may_stop, lock=True)
            yield
            if self.counts != before:
                run_sql(
                    "UPDATE run_step SET counts = %s, moved_at = clock_timestamp() WHERE id = %s",
                    [json.dumps(self.counts), self.pk],
                )

    @contextmanager
    def counts_restored(self) -> Iterator[None]:
        """Forget what was counted inside if it ends with an error: its rows are rolled back."""
        before = dict(self.counts)
        try:
            yield
        except BaseException:
            self.counts = before
            raise

    def check_stop(self) -> None:
        """A place where nothing is half done, before something is sent to a channel.

        Errors: see require_ownership().
        """
        self.require_ownership(may_stop=True, lock=False)

    def require_ownership(self, *, may_stop: bool, lock: bool) -> None:
        """Make sure that the step is ours; with `lock` it stays so until the transaction ends.

        Errors: RunLost when it is not; with `may_stop` also RunCancelled when the run is to stop.
        """
        # Lets a heartbeat through and keeps a takeover, which locks FOR UPDATE, waiting.
        locking = "FOR KEY SHARE OF s" if lock else ""
        owned = fetch(
            f"""SELECT r.cancel_requested_at IS NOT NULL
                  FROM run_step s JOIN job_run r ON r.id = s.run_id
                 WHERE s.id = %s AND s.fencing_no = %s AND s.status = 'running'
                   AND r.status = 'running' {locking}""",  # noqa: S608 - one of two words
            [self.pk, self.fencing_no],
        )
        if not owned:
            raise RunLost
        if may_stop and owned[0][0]:
            raise RunCancelled

    def add(self, **counts: int) -> None:
        """Count rows, in the words of docs/jobs.md. Used inside chunk(), which saves the counts."""
        totals: dict[str, Any] = dict(self.counts)
        for word, rows in counts.items():
            if rows:
                totals[word] = totals.get(word, 0) + rows
        self.counts = totals

    def release(self, **notes: Any) -> None:
        """Let the step wait for any worker, in a turn of its own, if it is still ours.

        Effects: its row, with the fields of `notes`.
        """
        RunStep.objects.claimed_as(self).update(
            status=RunStatus.QUEUED, worker="", turn=F("position"), **notes
        )

    def finish(self, status: str, message: Message | None = None) -> None:
        """Record the outcome, if the step is still ours; what the chunks counted stays."""
        self.status, self.message = status, message or Message()
        run_sql(
            """UPDATE run_step SET status = %s, message = %s, ended_at = clock_timestamp()
                WHERE id = %s AND fencing_no = %s AND status = 'running'""",
            [status, self.message.json, self.pk, self.fencing_no],
        )


def remove_visits() -> None:
    """Remove the visits of old runs that went well: one for each run and database.

    What they did is in the counts of the run. Runs that still have them are told by the index.
    """
    run_sql(
        """WITH old AS (
             UPDATE job_run SET steps_removed_at = now()
              WHERE id IN (SELECT id FROM job_run
                            WHERE steps_removed_at IS NULL
                              AND ended_at < now() - %(days)s * interval '1 day'
                            ORDER BY ended_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
             RETURNING id)
           DELETE FROM run_step s USING old
            WHERE s.run_id = old.id AND s.step = ANY(%(visits)s)
              AND s.status IN ('succeeded', 'nothing_to_do')""",
        {
            "days": parameter(ParameterName.DETAILS_KEPT),
            "limit": RUNS_PER_CHUNK,
            "visits": [StepCode.UPLOAD.value, StepCode.DOWNLOAD.value],
        },
    )
