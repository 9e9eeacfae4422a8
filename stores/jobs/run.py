"""Carry out a run: lead it or help with it, step after step, each in its place."""

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from stores.channeldb.errors import ChannelError
from stores.failpoints import failpoint
from stores.hqdb.locks import (
    Locks,
    connection_named,
    heartbeat,
    is_alive,
    leader_lock,
    participants_lock,
)
from stores.hqdb.retry import retry_on_conflict
from stores.hqdb.threads import SIGNALS
from stores.jobs.catalog import JOBS, Step
from stores.jobs.channel_health import record_visits
from stores.jobs.claim import (
    BUSY_ELSEWHERE,
    RemainingSteps,
    claim_steps,
    count_remaining,
    fair_share,
    next_runnable_step,
    postpone_steps,
    reclaim_steps,
    release_steps,
)
from stores.jobs.outcome import (
    STOPPED,
    end_run,
    finish_steps,
    has_effect,
    outcome_recorded,
    signals_unwrapped,
    technical_detail,
)
from stores.jobs.plan import plan_steps
from stores.jobs.pool import MAX_PARALLEL_STEPS, WorkerPool
from stores.models import JobRun, RunStep
from stores.models.run import RunCancelled, RunLost, RunStatus, StepFailed
from stores.models.step import StepReleased

logger = logging.getLogger(__name__)

# How often a worker looks whether a step has become free, and whether another one died.
STEP_POLL_S = 0.05
# How often it looks whether another run has left a step's place.
BUSY_POLL_S = 0.5
RECLAIM_INTERVAL_S = 1
# A worker that is called at the same time as the leader waits so long for it to begin.
BEGIN_TIMEOUT_S = 2
UNEXPECTED_ERROR = "Unexpected error; see the run's technical details."


def execute(run_id: str) -> None:
    """Do one run, or help with it. All the queue ever calls; a message too many ends at once."""
    with Locks() as locks, connection_named(locks.worker):
        if locks.acquire(leader_lock(UUID(run_id))):
            if run := begin_run(UUID(run_id), locks.worker):
                with heartbeat(locks, run.pk), outcome_recorded(run):
                    work_on(run, locks, is_leader=True)
        elif run := running_elsewhere(UUID(run_id)):
            with heartbeat(locks, run.pk), suppress(RunLost, RunCancelled):
                work_on(run, locks, is_leader=False)


def begin_run(run_id: UUID, worker: str) -> JobRun | None:
    """Claim a run and write down its steps; None if it has been begun or has ended.

    A run of a newer release, whose job is unknown here, is left to that release.
    """
    if not JobRun.objects.filter(pk=run_id, job__in=JOBS).exists():
        return None
    with transaction.atomic():
        run = JobRun.objects.claim(run_id, worker)
        if run and (refusal := permission_refusal(run)):
            end_run(run, RunStatus.FAILED, refusal)
            return None
        if run:
            plan_steps(run)
    failpoint("run:after_claim")
    return run


def permission_refusal(run: JobRun) -> str:
    """The sentence for a run whose starter may not start it any more, or nothing."""
    user = run.requested_by
    if user is None or user.has_perms(JOBS[run.job].permissions):
        return ""
    return f"Refused: {user.get_username()} no longer has permission to start this."


def running_elsewhere(run_id: UUID) -> JobRun | None:
    """The run that another process leads, once it has begun; None if there is nothing to help."""
    deadline = time.monotonic() + BEGIN_TIMEOUT_S
    while run := JobRun.objects.live().filter(pk=run_id, job__in=JOBS).first():
        if run.status == RunStatus.RUNNING:
            return run
        if time.monotonic() > deadline or not is_alive(run_id):
            return None
        time.sleep(STEP_POLL_S)
    return None


def work_on(run: JobRun, locks: Locks, *, is_leader: bool) -> None:
    """Do one free step after the other, visits side by side. Who leads stays until all have ended.

    Errors: RunLost, RunCancelled.
    """
    locks.acquire_shared(participants_lock(run.pk))
    reclaimed_at = time.monotonic()
    busy_since: dict[int, float] = {}
    with WorkerPool(locks.worker) as pool:
        while True:
            remaining = count_remaining(run)
            claimed, postponed = start_next_step(run, locks, pool, remaining, busy_since)
            if postponed != claimed:
                continue
            if remaining.is_over or (
                not is_leader and should_leave(run, has_waiting=bool(remaining.waiting))
            ):
                return
            if time.monotonic() - reclaimed_at > RECLAIM_INTERVAL_S:
                reclaim_steps(run, locks.worker)
                reclaimed_at = time.monotonic()
            pool.wait(BUSY_POLL_S if postponed else STEP_POLL_S)


def start_next_step(
    run: JobRun,
    locks: Locks,
    pool: WorkerPool,
    remaining: RemainingSteps,
    busy_since: dict[int, float],
) -> tuple[list[RunStep], list[RunStep]]:
    """Claim the next step that is free, and do it here or in a thread of the pool.

    Returns what was claimed, and what of it comes later because another run is doing it.
    """
    step = next_runnable_step(JOBS[run.job], remaining)
    if not step or not has_capacity(pool, run, remaining, step):
        return [], []
    rows = claim_steps(run, step, locks.worker)
    locked, postponed = lock_places(rows, locks, busy_since)
    if locked:
        work = partial(perform_step, step, locked, locks)
        is_alone = remaining.waiting[step.code] == 1 and not pool.busy
        # A dry run is one transaction, so all of it happens on one connection.
        if step.per != "database" or is_alone or run.is_dry:
            work()
        else:
            pool.submit(work, locked[0])
    return rows, postponed


def has_capacity(pool: WorkerPool, run: JobRun, remaining: RemainingSteps, step: Step) -> bool:
    """Whether this worker may do another step at the same time: its share of those still open."""
    if not pool.busy:
        return True
    unfinished = remaining.waiting[step.code] + remaining.running.get(step.code, 0)
    return len(pool.busy) < min(MAX_PARALLEL_STEPS, fair_share(run, unfinished))


def should_leave(run: JobRun, *, has_waiting: bool) -> bool:
    """Whether a helper should leave: nothing waits here any more, or another run does."""
    return not has_waiting or JobRun.objects.filter(status=RunStatus.QUEUED).exists()


def lock_places(
    rows: list[RunStep], locks: Locks, busy_since: dict[int, float]
) -> tuple[list[RunStep], list[RunStep]]:
    """Take the places of these steps. Returns those that are free, and those that come later.

    Where another run is doing the step, this one comes later or is told so.
    """
    locked = [row for row in rows if locks.acquire(row.lock_name)]
    postponed = [row for row in rows if row not in locked and should_wait(row, busy_since)]
    if postponed:
        postpone_steps(postponed)
    finish_steps(
        [row for row in rows if row not in [*locked, *postponed]], RunStatus.BUSY, BUSY_ELSEWHERE
    )
    return locked, postponed


def should_wait(row: RunStep, busy_since: dict[int, float]) -> bool:
    """Whether to wait for the other run, which this process met at the step at such a moment.

    A step that moves no more is ended after as long, whoever does it.
    """
    first_busy = busy_since.setdefault(row.pk, time.monotonic())
    return (
        JOBS[row.run.job].waits_while_busy
        and time.monotonic() - first_busy < settings.STEP_SILENT_S
    )


def perform_step(step: Step, rows: list[RunStep], locks: Locks) -> None:
    """Do one step in its place, or in those of one group, and leave it.

    Errors: see attempt_step().
    """
    try:
        attempt_step(step, rows)
    finally:
        for row in rows:
            locks.release(row.lock_name)


def attempt_step(step: Step, rows: list[RunStep]) -> None:
    """Do the step and record how it went.

    Errors: RunLost, RunCancelled; trouble of one place is its outcome.
    """
    began_at = time.monotonic()
    for row in rows:
        row.began_at = began_at
    try:
        with signals_unwrapped():
            retry_on_conflict(partial(step.execute, rows), f"{step.code} {rows[0].place}")
    except StepReleased:
        release_steps(rows)
    except ChannelError as error:
        record_outcomes(step, rows, time.monotonic() - began_at, trouble=str(error))
    except RunCancelled:
        finish_steps(rows, RunStatus.CANCELLED, STOPPED)
        raise
    except SIGNALS:
        release_steps(rows)
        raise
    except RunLost:
        raise
    except StepFailed as error:
        finish_steps(rows, RunStatus.FAILED, str(error))
    except Exception as error:
        # A worker that was cut off meets this at whatever it does next.
        connection.close_if_unusable_or_obsolete()
        rows[0].require_ownership(may_stop=False, lock=False)
        # One place must not stop the others, whatever went wrong in it.
        detail = f"{step.code} {rows[0].place}\n{technical_detail(error)}\n"
        logger.error("run=%s step=%s", rows[0].run_id, detail)
        rows[0].run.append_detail(detail)
        record_outcomes(step, rows, time.monotonic() - began_at, trouble=UNEXPECTED_ERROR)
    else:
        record_outcomes(step, rows, time.monotonic() - began_at)


def record_outcomes(
    step: Step, rows: Sequence[RunStep], seconds: float, *, trouble: str = ""
) -> None:
    """Record the outcomes of steps that came to their end, and how the visits went."""
    with transaction.atomic():
        unfinished = [row for row in rows if row.status == RunStatus.RUNNING]
        if trouble:
            finish_steps(unfinished, RunStatus.FAILED, trouble)
        else:
            active = [row for row in unfinished if has_effect(row)]
            finish_steps(active, RunStatus.SUCCEEDED)
            finish_steps(unfinished, RunStatus.NOTHING_TO_DO)
        if step.per in ("database", "group"):
            record_visits(step, rows, seconds)
