"""Whose a step is: claimed by one worker at a time."""

from collections.abc import Iterator
from functools import partial

from django.conf import settings
from django.db import transaction

from stores.failpoints import failpoint
from stores.hqdb.retry import retry_on_conflict
from stores.jobs.catalog import JOBS
from stores.jobs.stages import cancel_waiting_steps
from stores.messages.message import Message
from stores.models import ChannelDatabase, JobRun, RunStep
from stores.models.run import ClockTime, RunStatus

# A step that somebody else is claiming is passed over.
CLAIM = """
    UPDATE run_step
       SET status = 'running', worker = %(worker)s, fencing_no = nextval('run_step_fencing'),
           message = '[]', started_at = coalesce(started_at, clock_timestamp()),
           moved_at = clock_timestamp(), heartbeat_at = clock_timestamp(),
           lease_until = clock_timestamp() + %(lease)s * interval '1 second'
     WHERE id = (SELECT step.id
                   FROM run_step named
                   JOIN job_run run ON run.id = named.run_id
                   JOIN run_step step
                     ON step.run_id = run.id AND step.stage = run.stage AND step.turn = named.turn
                  WHERE named.id = %(named)s
                    AND run.status = 'running' AND run.job = ANY(%(known)s)
                    AND step.status = 'queued' AND step.position > %(after)s
                  ORDER BY step.position LIMIT 1
                    FOR UPDATE OF step SKIP LOCKED)
    RETURNING *"""


def claim_turn(step_id: int, worker: str, run: JobRun | None = None) -> Iterator[RunStep]:
    """Claim the waiting steps of a step's turn, each when the one before it is done.

    What stays the same of their run is read once, unless the caller knows it.
    """
    step = claim_step(step_id, worker, run)
    while step is not None:
        yield step
        # A turn bears the position of its last step.
        is_last = step.position == step.turn
        step = None if is_last else claim_step(step_id, worker, step.run, after=step.position)


def claim_step(
    step_id: int, worker: str, run: JobRun | None = None, *, after: int = 0
) -> RunStep | None:
    """Claim the first waiting step of a step's turn, behind a position. Begins its run if need be.

    None when other workers were quicker, the run has ended, or its job is one of a newer release.
    """
    values = {
        "named": step_id,
        "after": after,
        "known": list(JOBS),
        "worker": worker,
        "lease": settings.RUN_LEASE_S,
    }
    claim = partial(
        retry_on_conflict, lambda: [*RunStep.objects.raw(CLAIM, values)], f"claim of step {step_id}"
    )
    claimed = claim()
    if not claimed and not after:
        retry_on_conflict(partial(begin_run, step_id), f"begin of step {step_id}")
        # Whoever has begun the run: it was perhaps not running yet when it was looked at first.
        claimed = claim()
    failpoint("step:after_claim")
    if not claimed:
        return None
    [step] = claimed
    step.run = run or JobRun.objects.get(pk=step.run_id)
    if step.database_id:
        databases = ChannelDatabase.objects.select_related("channel")
        step.database = databases.get(pk=step.database_id)
    return step


def begin_run(step_id: int) -> None:
    """Let the run of a step begin, unless its starter may not start it any more: then it fails."""
    with transaction.atomic():
        queued = JobRun.objects.filter(steps=step_id, status=RunStatus.QUEUED, job__in=JOBS)
        run = queued.select_for_update(of=("self",), no_key=True).first()
        if run is None:
            return
        user = run.requested_by
        if user and not user.has_perms(JOBS[run.job].permissions):
            cancel_waiting_steps(run)
            run.message = Message("starter_refused", user=user.get_username())
            run.status, run.ended_at = RunStatus.FAILED, ClockTime()
        else:
            run.status, run.started_at = RunStatus.RUNNING, ClockTime()
        run.save(update_fields=["status", "message", "started_at", "ended_at"])
