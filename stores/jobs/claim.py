"""Whose a step is: claimed by one worker at a time, and given back for another one."""

from functools import partial

from django.conf import settings
from django.db import transaction
from django.db.models.functions import Coalesce

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
                      fencing_no = nextval('run_step_fencing'), moved_at = NULL,
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


def begin_step(row: RunStep) -> None:
    """Note that the work on a claimed step begins. Errors: RunLost if it is no longer ours."""
    claim = RunStep.objects.claimed_as(row)
    if not claim.update(started_at=Coalesce("started_at", ClockTime()), moved_at=ClockTime()):
        raise RunLost


def release_step(row: RunStep, message: str) -> None:
    """Let a claimed step wait again, for this worker or another, until its place is free."""
    RunStep.objects.claimed_as(row).update(
        status=RunStatus.QUEUED,
        worker="",
        message=message,
        busy_since=Coalesce("busy_since", ClockTime()),
    )
