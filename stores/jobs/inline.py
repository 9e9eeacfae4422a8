"""Run a job in this process, also as a dry run."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from django.db import transaction

from stores.hqdb.locks import Locks, connection_named, heartbeat
from stores.hqdb.retry import retry_on_conflict
from stores.jobs.catalog import JOBS, Job
from stores.jobs.claim import claim_steps
from stores.jobs.outcome import SIGNALS, STOPPED, busy_document, run_document
from stores.jobs.run import perform_step
from stores.jobs.stages import cancel_run, move_on, waiting_steps
from stores.jobs.stalled import recover_lost_steps
from stores.jobs.start import create_run
from stores.models import JobRun
from stores.models.run import RunStatus

# While other workers do the last steps of a stage, it is looked so often whether they have ended.
STAGE_POLL_S = 0.1
Report = Callable[[JobRun], object]


def run_inline(
    job: str | Job, *, dry_run: bool = False, report: Report = lambda _: None, **scope: Any
) -> dict[str, Any]:
    """Run a job in this process and return its document.

    A run of the same job and scope that still waits for a worker, or whose worker died, is gone on
    with here. `report` is called after each step. Shape: `scope` is what create_run() takes of
    channels, companies, a business date, an order.
    """
    catalog_job = job if isinstance(job, Job) else JOBS[job]
    with Locks() as locks, connection_named(locks.worker), heartbeat(locks):
        if dry_run:
            return dry_run_job(catalog_job, locks, **scope)

        def create() -> tuple[JobRun, bool]:
            with transaction.atomic():
                run = create_run(catalog_job, **scope).run
                # Before others see the row: of two commands at the same moment one does it.
                return run, locks.acquire(f"run:{run.pk}")

        run, is_ours = retry_on_conflict(create, f"start of {catalog_job.code}")
        recover_lost_steps(run=run)
        if not is_ours or run.steps.filter(status=RunStatus.RUNNING).exists():
            return busy_document(run)
        # The ledger says that it was stopped, and so does the document.
        with suppress(KeyboardInterrupt):
            perform_run(run, locks, report)
        return run_document(JobRun.objects.get(pk=run.pk))


def perform_run(run: JobRun, locks: Locks, report: Report) -> None:
    """Do the steps of a run until it has ended; workers may do some, too.

    A signal stops the run.
    """
    try:
        while not JobRun.objects.get(pk=run.pk).is_final:
            if waiting := waiting_steps(run.pk):
                for row in claim_steps(waiting[0], locks.worker):
                    perform_step(row, locks)
                    report(run)
            else:
                time.sleep(STAGE_POLL_S)
                recover_lost_steps(run=run)
    except SIGNALS:
        with transaction.atomic():
            cancel_run(run.pk)
            for row in run.steps.filter(worker=locks.worker):
                row.finish(RunStatus.CANCELLED, STOPPED)
            move_on(JobRun.objects.locked(run.pk))
        raise


def dry_run_job(job: Job, locks: Locks, **scope: Any) -> dict[str, Any]:
    """What a run would do now: all of it happens in one transaction that is rolled back."""
    with transaction.atomic():
        started = create_run(job, **scope)
        if not started.is_new:
            return busy_document(started.run)
        while waiting := waiting_steps(started.run.pk):
            for row in claim_steps(waiting[0], locks.worker):
                row.run.is_dry = True
                perform_step(row, locks)
        document = run_document(JobRun.objects.get(pk=started.run.pk))
        transaction.set_rollback(True)
    return document
