"""Which step of a run comes next, and whose it is.

Workers share a run: each claims one free step after the other by a conditional update. A step that
its worker left, or died with, waits again and keeps what it has counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from django.conf import settings
from django.db import connection, transaction

from stores.failpoints import failpoint
from stores.hqdb.locks import lock_holders, participant_count, terminate_connections
from stores.jobs.catalog import Job, Step
from stores.jobs.outcome import close_sessions
from stores.models import JobRun, RunStep
from stores.models.run import LIVE_STATUSES, RunCancelled, RunLost, RunStatus

WORKER_GONE = "The process running it is gone."
BUSY_ELSEWHERE = "Another run is already doing this step here."
# Between a claim and the lock on its place lies less than this.
LOCK_GRACE_S = 2


@dataclass(frozen=True)
class RemainingSteps:
    """How many steps of a run wait and how many are being done, by their word."""

    waiting: dict[str, int]
    running: dict[str, int]

    @property
    def is_over(self) -> bool:
        return not self.waiting and not self.running


def count_remaining(run: JobRun) -> RemainingSteps:
    """Count what is still to do. Errors: RunLost, RunCancelled."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT r.cancel_requested_at IS NOT NULL, s.step, s.status, count(s.id)
                 FROM job_run r LEFT JOIN run_step s ON s.run_id = r.id AND s.status = ANY(%s)
                WHERE r.id = %s AND r.fencing_no = %s AND r.status = 'running'
                GROUP BY r.id, s.step, s.status""",
            [list(LIVE_STATUSES), str(run.pk), run.fencing_no],
        )
        rows = cursor.fetchall()
    if not rows:
        raise RunLost
    if rows[0][0]:
        raise RunCancelled
    return RemainingSteps(
        waiting={step: count for _, step, status, count in rows if status == RunStatus.QUEUED},
        running={step: count for _, step, status, count in rows if status == RunStatus.RUNNING},
    )


def next_runnable_step(job: Job, remaining: RemainingSteps) -> Step | None:
    """The step of the job that may be begun now, or None if others must end first.

    A step begins when all before it have ended; one that overlaps, while the last of the step
    right before it are still going on.
    """
    before, just_before = 0, 0
    for step in job.steps:
        if remaining.waiting.get(step.code):
            return None if before or (just_before and not step.overlaps) else step
        before, just_before = before + just_before, remaining.running.get(step.code, 0)
    return None


def claim_steps(run: JobRun, step: Step, worker: str) -> list[RunStep]:
    """Make the next of the run's waiting steps ours, or a fair share of one group's.

    Those that were never begun come first, then those that were left longest ago. Empty when others
    were quicker.
    """
    group, limit = next_group(run, step) if step.per == "group" else (None, 1)
    # An array is made once; a planner may ask IN (...) anew for each row, and pass the limit.
    with connection.cursor() as cursor:
        cursor.execute(
            """UPDATE run_step
                  SET status = 'running', worker = %(worker)s, message = '',
                      fencing_no = nextval('job_run_fencing'),
                      started_at = coalesce(started_at, clock_timestamp()),
                      heartbeat_at = clock_timestamp(),
                      lease_until = clock_timestamp() + %(lease)s * interval '1 second'
                WHERE id = ANY (ARRAY (
                      SELECT s.id FROM run_step s
                        LEFT JOIN channel_database d ON d.id = s.database_id
                       WHERE s.run_id = %(run)s AND s.step = %(step)s AND s.status = 'queued'
                         AND (%(group)s IS NULL OR d.group_id = %(group)s)
                       ORDER BY s.heartbeat_at NULLS FIRST, s.position
                       LIMIT %(most)s FOR UPDATE OF s SKIP LOCKED))
               RETURNING id""",
            {
                "worker": worker,
                "lease": settings.RUN_LEASE_S,
                "run": str(run.pk),
                "step": step.code,
                "group": group,
                "most": limit,
            },
        )
        ids = [row[0] for row in cursor.fetchall()]
    rows = list(RunStep.objects.with_place().filter(pk__in=ids).order_by("position"))
    for row in rows:
        row.run = run
    failpoint("step:after_claim")
    return rows


def next_group(run: JobRun, step: Step) -> tuple[int | None, int]:
    """The group of databases whose turn it is, and how many of them one worker may claim."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT d.group_id, count(*) OVER (PARTITION BY d.group_id)
                 FROM run_step s JOIN channel_database d ON d.id = s.database_id
                WHERE s.run_id = %s AND s.step = %s AND s.status = 'queued'
                ORDER BY s.heartbeat_at NULLS FIRST, s.position LIMIT 1""",
            [str(run.pk), step.code],
        )
        group, waiting = cursor.fetchone() or (None, 1)
    return group, fair_share(run, waiting)


def fair_share(run: JobRun, steps: int) -> int:
    """How many of so many steps one worker may do, so that others of the run have some too."""
    return ceil(steps / max(1, participant_count(run.pk)))


def release_steps(rows: Sequence[RunStep]) -> None:
    """Let the steps wait again, for this worker or another."""
    for row in rows:
        release_step(row, row.worker)


def postpone_steps(rows: Sequence[RunStep]) -> None:
    """Let the steps wait until other runs have done with their places; they have not begun."""
    ours = {row.pk: row for row in rows}
    RunStep.objects.filter(pk__in=ours, worker=rows[0].worker, status=RunStatus.RUNNING).update(
        status=RunStatus.QUEUED,
        worker="",
        started_at=None,
        message=f"{BUSY_ELSEWHERE} This run follows it.",
    )
    for row in rows:
        row.status = RunStatus.QUEUED


def reclaim_steps(run: JobRun, worker: str) -> None:
    """Let steps wait again whose worker is gone, or silent beyond its lease."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT id, lease_until < clock_timestamp() FROM run_step
                WHERE run_id = %(run)s AND status = 'running' AND worker <> %(worker)s
                  -- In the future by a clock that has been set back since: long ago.
                  AND heartbeat_at
                      NOT BETWEEN clock_timestamp() - %(lately)s * interval '1 second'
                              AND clock_timestamp() + %(lately)s * interval '1 second'""",
            {"run": str(run.pk), "worker": worker, "lately": LOCK_GRACE_S},
        )
        late = dict(cursor.fetchall())
    if not late:
        return
    rows = list(RunStep.objects.with_place().filter(pk__in=late))
    locked = {name for name, _ in lock_holders([row.lock_name for row in rows])}
    for row in rows:
        if late[row.pk]:
            terminate_connections([row.worker])
        if late[row.pk] or row.lock_name not in locked:
            failpoint("step:before_takeover")
            release_step(row, row.worker, message=WORKER_GONE)
            failpoint("step:after_takeover")


def release_step(row: RunStep, worker: str, *, message: str = "") -> None:
    """Let one step wait again, unless it has another worker by now.

    Waits for a chunk of its worker that is about to be committed. Effects: also the sessions that
    the worker left open, if it is gone.
    """
    with transaction.atomic():
        claims = RunStep.objects.filter(
            pk=row.pk, fencing_no=row.fencing_no, worker=worker, status=RunStatus.RUNNING
        )
        if not claims.select_for_update():
            return
        claims.update(status=RunStatus.QUEUED, worker="")
        row.status = RunStatus.QUEUED
        if message and row.database_id:
            close_sessions(row.run_id, message, database=row.database)
