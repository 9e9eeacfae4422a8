"""How a run moves on: to its next stage, to its end. Nobody leads it; whoever ends a step asks.

All of it happens while the run's row is locked, so that of two who end its last steps one is last.
"""

from collections.abc import Sequence
from uuid import UUID

from django.db import transaction

from stores.failpoints import failpoint
from stores.hqdb.sql import fetch_value, fetch_values, run_sql
from stores.jobs.catalog import DOWNLOAD, JOBS
from stores.jobs.outcome import STOPPED, close_sessions, outcome_of, run_message, sum_counts
from stores.jobs.plan import TURN_S
from stores.messages.message import Message
from stores.models import JobRun, RunStep
from stores.models.run import ClockTime, RunStatus
from stores.pipeline.download.download import with_pending

# A turn that takes longer is shared with other workers. Twice of what is expected of it.
LONG_TURN_S = 2 * TURN_S


def move_on(run: JobRun) -> list[int]:
    """Begin the next stage of a run once the present one is over; after the last one, end it.

    The caller has locked the run. Returns steps to be enqueued once it has committed.
    """
    if run.cancel_requested_at:
        cancel_waiting_steps(run)
    if run.has_ended or (stage := live_stage(run)) == run.stage:
        return []
    while stage is not None and stage != run.stage:
        run.stage = stage
        if end_idle_downloads(run):
            stage = live_stage(run)
    if stage is None:
        end_run(run)
        return []
    run_sql("UPDATE job_run SET stage = %s WHERE id = %s", [stage, run.pk])
    return waiting_steps(run.pk)


def live_stage(run: JobRun) -> int | None:
    """The first stage that has steps left."""
    stage: int | None = fetch_value(
        "SELECT min(stage) FROM run_step WHERE run_id = %s AND status IN ('queued', 'running')",
        [run.pk],
    )
    return stage


def end_idle_downloads(run: JobRun) -> int:
    """End the downloads of a run's stage that have nothing to do, all at once; how many.

    Each would write three times that it found nothing. Those of databases in trouble are left to
    workers.
    """
    job = JOBS.get(run.job)
    # A run of a newer release may be moved on by what gives its lost steps back.
    if run.status != RunStatus.RUNNING or job is None or DOWNLOAD not in job.steps:
        return 0
    names = {"run": run.pk, "stage": run.stage, "step": DOWNLOAD.code.value}
    databases = fetch_values(
        """SELECT database.id
             FROM run_step step JOIN channel_database database ON database.id = step.database_id
            WHERE step.run_id = %(run)s AND step.stage = %(stage)s AND step.step = %(step)s
              AND step.status = 'queued' AND database.failures = 0""",
        names,
    )
    if not databases:
        return 0
    return run_sql(
        """UPDATE run_step
              SET status = 'nothing_to_do', started_at = clock_timestamp(),
                  ended_at = clock_timestamp()
            WHERE run_id = %(run)s AND stage = %(stage)s AND step = %(step)s
              AND status = 'queued' AND database_id = ANY(%(idle)s)""",
        {**names, "idle": list({*databases} - {*with_pending(databases)})},
    )


def end_run(run: JobRun) -> None:
    """Close a run whose steps have ended, with the sum of their counts and a sentence."""
    in_order = "SELECT * FROM run_step WHERE run_id = %s ORDER BY position"
    steps = [*RunStep.objects.raw(in_order, [run.pk])]
    run.counts = sum_counts(steps)
    run.status = outcome_of(steps)
    run.message = run_message(run, steps)
    if run.status == RunStatus.CANCELLED:
        run.message = STOPPED if run.started_at else Message("cancelled")
        close_sessions(run.pk, Message("run_ended"))
    failpoint("run:before_end")
    run.ended_at = ClockTime()
    run.save(update_fields=["stage", "status", "message", "counts", "ended_at"])


def cancel_waiting_steps(run: JobRun) -> None:
    run.steps.filter(status=RunStatus.QUEUED).update(
        status=RunStatus.CANCELLED, ended_at=ClockTime()
    )


def cancel_run(run_id: UUID) -> bool:
    """Stop a run: its waiting steps end at once, the others at their next chunk.

    Says whether it was live.
    """
    with transaction.atomic():
        run = JobRun.objects.locked(run_id)
        if run.has_ended:
            return False
        run.cancel_requested_at = ClockTime()
        run.save(update_fields=["cancel_requested_at"])
        move_on(run)
    return True


def waiting_steps(run_id: UUID | None = None, *, but: Sequence[int] = ()) -> list[int]:
    """Steps that may be claimed now, of one run or of all: the first of each turn, in fair order.

    Those that were never begun come first, then those that were left longest ago. A worker is left
    alone with its turn unless that takes long. `but` leaves out turns of which one of these is a
    step. A job of a newer release is left to that release.
    """
    return fetch_values(
        """SELECT min(s.id) FILTER (WHERE s.status = 'queued')
             FROM run_step s
             JOIN job_run r ON r.id = s.run_id AND r.stage = s.stage
             LEFT JOIN channel_database d ON d.id = s.database_id
            WHERE r.status IN ('queued', 'running') AND r.job = ANY(%(known)s)
              AND (%(run)s IS NULL OR r.id = %(run)s::uuid)
            GROUP BY r.id, s.turn
           HAVING bool_or(s.status = 'queued') AND NOT array_agg(s.id) && %(but)s::bigint[]
              AND (bool_and(s.status <> 'running')
                   OR min(s.started_at) < clock_timestamp() - %(long)s * interval '1 second')
            ORDER BY r.created_at, r.id,
                     min(coalesce(s.heartbeat_at, d.last_visited_at))
                         FILTER (WHERE s.status = 'queued') NULLS FIRST,
                     s.turn""",
        {
            "known": list(JOBS),
            "run": run_id and str(run_id),
            "but": list(but),
            "long": LONG_TURN_S,
        },
    )
