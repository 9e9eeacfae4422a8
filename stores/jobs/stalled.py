"""Runs whose process died or hangs, and runs that nobody has begun.

Every worker looks after them, and the scheduler too, so that none has to be there.
"""

import socket
from datetime import timedelta

from django.conf import settings
from django.db import connection, transaction

from stores.failpoints import failpoint
from stores.hqdb.locks import Locks, is_alive, participant_count, terminate_connections
from stores.jobs import queue
from stores.jobs.channel_health import record_failure
from stores.jobs.outcome import close_open_steps, finish_steps
from stores.jobs.plan import enqueue_on_commit, workers_needed
from stores.models import Incident, JobRun, RunStep
from stores.models.incident import IncidentKind
from stores.models.run import ClockTime, RunStatus

MAX_ATTEMPTS = 5
PROCESS_GONE = "The process running it is gone."


def run_maintenance() -> list[str]:
    """Recover stalled runs, unless another process is doing so at this moment."""
    with Locks() as locks:
        return recover_stalled_runs() if locks.acquire("dispatcher") else []


def recover_stalled_runs() -> list[str]:
    """Take over runs whose process died, and enqueue those that still wait again.

    Effects: lost runs end, each with a queued successor. Returns what was done, in sentences.
    """
    shorten_leases()
    sentences = []
    running = JobRun.objects.filter(status=RunStatus.RUNNING)
    # Frozen, or cut off from HQ: the lock of such a process may still be held.
    silent = set(running.filter(lease_until__lt=ClockTime()).values_list("pk", flat=True))
    for run in running:
        if (run.pk in silent or not is_alive(run.pk)) and (successor := create_successor(run)):
            sentences.append(f"{run} was lost; {successor} follows it.")
    for run in waiting_for_worker():
        if queue.requeue(run.pk):
            sentences.append(f"Enqueued {run} again.")
    return sentences


def shorten_leases() -> None:
    """End leases in time that were taken before the clock was set back; the living renew theirs."""
    at_most = ClockTime() + timedelta(seconds=settings.RUN_LEASE_S)
    for model in (JobRun, RunStep):
        model.objects.filter(status=RunStatus.RUNNING, lease_until__gt=at_most).update(
            lease_until=at_most
        )


def create_successor(run: JobRun) -> JobRun | None:
    """End a lost run and put its successor into the ledger; None beyond the last attempt.

    Effects: both in one transaction; beyond the last attempt an incident instead.
    """
    with transaction.atomic():
        if not mark_lost(run) or run.cancel_requested_at:
            return None
        if run.attempt >= MAX_ATTEMPTS:
            report_given_up(run)
            return None
        successor = JobRun.objects.create(
            job=run.job,
            scope=run.scope,
            channels=run.channels,
            companies=run.companies,
            business_date=run.business_date,
            order_number=run.order_number,
            started_by=run.started_by,
            requested_by=run.requested_by,
            attempt=run.attempt + 1,
            successor_of=run,
        )
        enqueue_on_commit(successor)
        failpoint("run:before_takeover")
        return successor


def report_given_up(run: JobRun) -> None:
    """Let people see that a run does not come to its end."""
    Incident.objects.report(
        IncidentKind.RUN_GIVEN_UP,
        f"{run} lost its process {run.attempt} times in a row and will not be restarted.",
        subject=f"{run.job} {run.scope}"[:120],
        detail={"run": str(run.pk)},
    )


def mark_lost(run: JobRun) -> bool:
    """Mark a run as lost whose process is gone. False if it ended or was taken over meanwhile.

    Effects: the run, and what it left open: steps and sessions. Whoever still helps with it is cut
    off.
    """
    with transaction.atomic():
        is_marked = JobRun.objects.filter(
            pk=run.pk, status=RunStatus.RUNNING, fencing_no=run.fencing_no
        ).update(status=RunStatus.LOST, ended_at=ClockTime(), message=PROCESS_GONE)
        if is_marked:
            terminate_connections([run.worker, *run.steps.live().values_list("worker", flat=True)])
            close_open_steps(run, RunStatus.LOST, PROCESS_GONE)
    return bool(is_marked)


def waiting_for_worker() -> list[JobRun]:
    """Runs not enqueued lately: queued ones, and those that could use more workers.

    The latter have steps that wait, and there are workers who do not take part.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT id FROM job_run r
                -- In the future by a clock that has been set back since: long ago.
                WHERE greatest(rung_at, created_at) NOT BETWEEN
                          clock_timestamp() - %s * interval '1 second' AND clock_timestamp()
                  AND (status = 'queued' OR status = 'running' AND EXISTS (
                          SELECT FROM run_step s WHERE s.run_id = r.id AND s.status = 'queued'))""",
            [settings.REQUEUE_AFTER_S],
        )
        ids = [row[0] for row in cursor.fetchall()]
    runs = JobRun.objects.live().filter(pk__in=ids)
    return [run for run in runs if run.status == RunStatus.QUEUED or needs_workers(run)]


def needs_workers(run: JobRun) -> bool:
    """Whether there is a worker who does not take part, and a place for it."""
    return participant_count(run.pk) < min(workers_needed(run), queue.count_workers() or 0)


def is_hung(run_id: str, pid: int) -> bool:
    """Whether that process of this computer should be ended: a step of it moves no more.

    Effects: the step fails, so that the run goes on without it.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT id FROM run_step
                WHERE run_id = %(run)s AND status = 'running' AND worker LIKE %(worker)s
                  -- In the future by a clock that has been set back since: long ago.
                  AND greatest(started_at, moved_at)
                      NOT BETWEEN clock_timestamp() - %(silent)s * interval '1 second'
                              AND clock_timestamp() + %(silent)s * interval '1 second'""",
            {
                "run": run_id,
                "worker": f"{socket.gethostname()[:32]}:{pid}-%",
                "silent": settings.STEP_SILENT_S,
            },
        )
        ids = [row[0] for row in cursor.fetchall()]
    for row in RunStep.objects.with_place().filter(pk__in=ids):
        message = f"No progress for {settings.STEP_SILENT_S} s; its worker was stopped."
        finish_steps([row], RunStatus.FAILED, message)
        record_failure(row, message)
    return bool(ids)
