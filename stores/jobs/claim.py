"""Whose a step is: claimed by one worker at a time, and given back for another one."""

from collections.abc import Sequence
from functools import partial

from django.conf import settings
from django.db import transaction

from stores.failpoints import failpoint
from stores.hqdb.retry import retry_on_conflict
from stores.hqdb.sql import fetch
from stores.jobs.catalog import JOBS
from stores.jobs.stages import end_run
from stores.models import JobRun, RunStep
from stores.models.run import ClockTime, RunLost, RunStatus

BUSY_ELSEWHERE = "Another run is already doing this step here."


def claim_steps(step_id: int, worker: str) -> list[RunStep]:
    """Make a waiting step ours, with those whose turn it shares. Begins its run if none has.

    Empty when another worker was quicker, the run has ended, or its job is one of a newer release.
    """
    claimed = retry_on_conflict(partial(claim, step_id, worker), f"claim of step {step_id}")
    failpoint("step:after_claim")
    rows = RunStep.objects.with_place().select_related("run").filter(pk__in=claimed)
    return list(rows.order_by("position"))


def claim(step_id: int, worker: str) -> list[int]:
    """Claim in one transaction. Returns the steps that are ours."""
    with transaction.atomic():
        step = RunStep.objects.filter(pk=step_id, run__job__in=JOBS).first()
        if step is None:
            return []
        run = JobRun.objects.locked(step.run_id)
        if run.status == RunStatus.QUEUED:
            begin_run(run)
        if run.status != RunStatus.RUNNING:
            return []
        claimed = fetch(
            """UPDATE run_step
                  SET status = 'running', worker = %(worker)s, message = '',
                      fencing_no = nextval('run_step_fencing'),
                      heartbeat_at = clock_timestamp(),
                      lease_until = clock_timestamp() + %(lease)s * interval '1 second'
                WHERE run_id = %(run)s AND stage = %(stage)s AND turn = %(turn)s
                  AND status = 'queued'
               RETURNING id""",
            {
                "worker": worker,
                "lease": settings.RUN_LEASE_S,
                "run": str(run.pk),
                "stage": run.stage,
                "turn": step.turn,
            },
        )
    return [pk for (pk,) in claimed]


def begin_run(run: JobRun) -> None:
    """Let a run begin, unless its starter may not start it any more: then it fails."""
    user = run.requested_by
    if user is None or user.has_perms(JOBS[run.job].permissions):
        run.status, run.started_at = RunStatus.RUNNING, ClockTime()
        run.save(update_fields=["status", "started_at"])
    else:
        end_run(run, f"Refused: {user.get_username()} no longer has permission to start this.")


def begin_steps(rows: Sequence[RunStep]) -> None:
    """Note that the work on claimed steps begins. Errors: RunLost if one of them is not ours."""
    for row in rows:
        claims = RunStep.objects.filter(
            pk=row.pk, fencing_no=row.fencing_no, status=RunStatus.RUNNING
        )
        if not claims.update(started_at=row.started_at or ClockTime(), moved_at=ClockTime()):
            raise RunLost


def release_steps(rows: Sequence[RunStep], **changes: object) -> None:
    """Let claimed steps that have not begun wait again, for this worker or another."""
    for row in rows:
        claims = RunStep.objects.filter(
            pk=row.pk, fencing_no=row.fencing_no, status=RunStatus.RUNNING
        )
        claims.update(status=RunStatus.QUEUED, worker="", **changes)
