"""Steps whose worker died or hangs, and steps that the queue does not know of.

Every worker looks after them, and the scheduler too, so that none has to be there.
"""

from datetime import timedelta

from django.conf import settings
from django.db import transaction

from stores.failpoints import failpoint
from stores.hqdb.locks import Locks, living, process_prefix, terminate_connections
from stores.jobs import queue
from stores.jobs.channel_health import record_failure
from stores.jobs.outcome import close_sessions
from stores.jobs.stages import move_on, waiting_steps
from stores.messages.labels import counted
from stores.messages.message import Message
from stores.models import Incident, JobRun, RunStep
from stores.models.incident import IncidentKind
from stores.models.run import ClockTime, RunStatus

# A step whose worker was lost so often is not tried again in its run.
MAX_LOSSES = 5
WORKER_GONE = Message("worker_gone")


def run_maintenance() -> list[str]:
    """Recover lost steps and enqueue those that wait, unless another process is doing so now.

    What was done, in sentences.
    """
    with Locks() as locks:
        return [*recover_lost_steps(), *requeue_steps()] if locks.acquire("dispatcher") else []


def recover_lost_steps(**of_run: object) -> list[str]:
    """Give back steps whose worker died or is silent beyond its lease. What was done, in sentences.

    Of all runs, or of one: `run=…`. Effects: the steps wait again, or fail with an incident when
    it was too often.
    """
    running = RunStep.objects.filter(status=RunStatus.RUNNING, **of_run)
    if not running:
        return []
    # One taken before the clock was set back would never end; the living renew theirs.
    longest = ClockTime() + timedelta(seconds=settings.RUN_LEASE_S)
    running.filter(lease_until__gt=longest).update(lease_until=longest)
    # Frozen, or cut off from HQ: such a process may still hold its lock.
    silent = set(running.filter(lease_until__lt=ClockTime()))
    alive = living({row.worker for row in running})
    lost = [row for row in running if row in silent or row.worker not in alive]
    return [sentence for row in lost if (sentence := give_back(row))]


def give_back(row: RunStep) -> str:
    """Let a step wait again whose worker is gone; what was done, or nothing if it has another one.

    Waits for a chunk of its worker that is about to be committed. Effects: also the sessions that
    the worker left open; whatever is left of the worker is cut off.
    """
    terminate_connections([row.worker])
    with transaction.atomic():
        run = JobRun.objects.locked(row.run_id)
        if not RunStep.objects.claimed_as(row).select_for_update():
            return ""
        if row.database_id:
            close_sessions(row.run_id, WORKER_GONE, database=row.database)
        row.losses += 1
        is_given_up = row.losses == MAX_LOSSES
        if is_given_up:
            give_up(row)
        else:
            # Where no other step has to wait for it: it may be what ends workers.
            row.release(losses=row.losses)
        move_on(run)
        failpoint("step:before_takeover")
    failpoint("step:after_takeover")
    return f"{run}: {row} lost its worker and {'is given up' if is_given_up else 'waits again'}."


def give_up(row: RunStep) -> None:
    """Let a step fail that never comes to its end, and let people see it."""
    row.save(update_fields=["losses"])
    row.finish(RunStatus.FAILED, WORKER_GONE)
    record_failure(row, WORKER_GONE)
    Incident.objects.report(
        IncidentKind.RUN_GIVEN_UP,
        Message("step_given_up", run=str(row.run), step=str(row), times=MAX_LOSSES),
        subject=f"{row.run.job} {row}"[:120],
        detail={"run": str(row.run_id)},
    )


def requeue_steps() -> list[str]:
    """Enqueue steps that wait and that the queue does not know of.

    Such as those behind a channel that has much to send after all.
    """
    known = queue.enqueued_steps()
    forgotten = [] if known is None else waiting_steps(but=known)
    if not forgotten or not queue.enqueue(forgotten):
        return []
    return [f"Enqueued {counted(len(forgotten), 'step')} again."]


def is_hung(pid: int) -> bool:
    """Whether that process of this computer should be ended: its step moves no more.

    Effects: the step fails, so that its run goes on without it.
    """
    silent = timedelta(seconds=settings.STEP_SILENT_S)
    hung = (
        RunStep.objects.with_place()
        .filter(status=RunStatus.RUNNING, worker__startswith=process_prefix(pid))
        # In the future by a clock that has been set back since: long ago.
        .exclude(moved_at__range=(ClockTime() - silent, ClockTime() + silent))
    )
    message = Message("no_progress", seconds=settings.STEP_SILENT_S)
    for row in hung:
        with transaction.atomic():
            run = JobRun.objects.locked(row.run_id)
            row.finish(RunStatus.FAILED, message)
            record_failure(row, message)
            move_on(run)
    return bool(hung)
