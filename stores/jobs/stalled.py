"""Steps whose worker died, hangs or is held up, and steps that the queue does not know of.

Every worker looks after them, and the scheduler too, so that none has to be there.
"""

import socket
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import F

from stores.failpoints import failpoint
from stores.hqdb.locks import Locks, living, terminate_connections
from stores.hqdb.sql import fetch
from stores.jobs import queue
from stores.jobs.channel_health import record_failure
from stores.jobs.outcome import close_sessions
from stores.jobs.plan import TURN_S
from stores.jobs.stages import move_on, waiting_steps
from stores.models import Incident, JobRun, RunStep
from stores.models.incident import IncidentKind
from stores.models.run import ClockTime, RunStatus

# A step whose worker was lost so often is not tried again in its run.
MAX_LOSSES = 5
# A turn that takes longer is shared with other workers. Twice of what is expected of it.
SHARE_TURN_S = 2 * TURN_S
WORKER_GONE = "The process running it is gone."


def run_maintenance() -> list[str]:
    """Recover lost steps and enqueue forgotten ones, unless another process is doing so now."""
    with Locks() as locks:
        if not locks.acquire("dispatcher"):
            return []
        sentences = recover_lost_steps()
        share_turns()
        return [*sentences, *requeue_steps()]


def recover_lost_steps(**of_run: object) -> list[str]:
    """Give back steps whose worker died or is silent beyond its lease. What was done, in sentences.

    Of all runs, or of one: `run=…`. Effects: the steps wait again, or fail with an incident when
    it was too often.
    """
    shorten_leases()
    running = RunStep.objects.with_place().filter(status=RunStatus.RUNNING, **of_run)
    # Frozen, or cut off from HQ: such a process may still hold its lock.
    silent = set(running.filter(lease_until__lt=ClockTime()))
    alive = living({row.worker for row in running})
    lost = [row for row in running if row in silent or row.worker not in alive]
    return [sentence for row in lost if (sentence := give_back(row))]


def shorten_leases() -> None:
    """End leases in time that were taken before the clock was set back; the living renew theirs."""
    at_most = ClockTime() + timedelta(seconds=settings.RUN_LEASE_S)
    RunStep.objects.filter(status=RunStatus.RUNNING, lease_until__gt=at_most).update(
        lease_until=at_most
    )


def give_back(row: RunStep) -> str:
    """Let a step wait again whose worker is gone; what was done, or nothing if it has another one.

    Waits for a chunk of its worker that is about to be committed. Effects: also the sessions that
    the worker left open; whatever is left of the worker is cut off. The step has a turn of its own
    from now on: it may be what ends workers.
    """
    terminate_connections([row.worker])
    with transaction.atomic():
        run = JobRun.objects.locked(row.run_id)
        claims = RunStep.objects.claimed_as(row)
        if not claims.select_for_update():
            return ""
        if row.database_id:
            close_sessions(row.run_id, WORKER_GONE, database=row.database)
        is_given_up = row.losses + 1 >= MAX_LOSSES
        if is_given_up:
            give_up(row)
        else:
            claims.update(status=RunStatus.QUEUED, worker="", turn=F("position"))
        RunStep.objects.filter(pk=row.pk).update(losses=row.losses + 1)
        move_on(run)
        failpoint("step:before_takeover")
    failpoint("step:after_takeover")
    return f"{run}: {row} lost its worker and {'is given up' if is_given_up else 'waits again'}."


def give_up(row: RunStep) -> None:
    """Let a step fail that never comes to its end, and let people see it."""
    row.finish(RunStatus.FAILED, WORKER_GONE)
    if row.database_id:
        record_failure(row, WORKER_GONE)
    Incident.objects.report(
        IncidentKind.RUN_GIVEN_UP,
        f"{row.run}: {row} lost its process {MAX_LOSSES} times and failed.",
        subject=f"{row.run.job} {row}"[:120],
        detail={"run": str(row.run_id)},
    )


def share_turns() -> None:
    """Let half of what is left of each turn that takes long wait for another worker, as a new turn.

    Such as the channels behind one that has much to send after all.
    """
    shared = fetch(
        """UPDATE run_step s SET status = 'queued', worker = '', turn = half.turn
             FROM (SELECT id, min(position) OVER (PARTITION BY worker) AS turn
                     FROM (SELECT left_over.id, left_over.worker, left_over.position,
                                  ntile(2) OVER (PARTITION BY left_over.worker
                                                 ORDER BY left_over.position DESC) AS half
                             FROM run_step left_over
                            WHERE left_over.status = 'running' AND left_over.moved_at IS NULL
                              AND EXISTS (SELECT FROM run_step begun
                                           WHERE begun.run_id = left_over.run_id
                                             AND begun.worker = left_over.worker
                                             AND begun.started_at < clock_timestamp()
                                                 - %s * interval '1 second')) halves
                    WHERE halves.half = 1) half
            -- Unless its worker has just begun with it.
            WHERE s.id = half.id AND s.status = 'running' AND s.moved_at IS NULL
           RETURNING s.id, s.turn""",
        [SHARE_TURN_S],
    )
    queue.enqueue(list({turn: step for step, turn in shared}.values()))


def requeue_steps() -> list[str]:
    """Enqueue the steps that wait in PostgreSQL and that the queue does not know of."""
    known = queue.enqueued_steps()
    forgotten = [] if known is None else waiting_steps(but=known)
    if not forgotten or not queue.enqueue(forgotten):
        return []
    return [f"Enqueued {len(forgotten)} step{'' if len(forgotten) == 1 else 's'} again."]


def is_hung(pid: int) -> bool:
    """Whether that process of this computer should be ended: its step moves no more.

    Effects: the step fails, so that its run goes on without it.
    """
    hung = fetch(
        """SELECT id FROM run_step
            WHERE status = 'running' AND worker LIKE %(worker)s
              -- In the future by a clock that has been set back since: long ago.
              AND moved_at NOT BETWEEN clock_timestamp() - %(silent)s * interval '1 second'
                                   AND clock_timestamp() + %(silent)s * interval '1 second'""",
        {
            "worker": f"{socket.gethostname()[:32]}:{pid}-%",
            "silent": settings.STEP_SILENT_S,
        },
    )
    message = f"No progress for {settings.STEP_SILENT_S} s; its worker was stopped."
    for row in RunStep.objects.with_place().filter(pk__in=[pk for (pk,) in hung]):
        with transaction.atomic():
            run = JobRun.objects.locked(row.run_id)
            row.finish(RunStatus.FAILED, message)
            record_failure(row, message)
            move_on(run)
    return bool(hung)
