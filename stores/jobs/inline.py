"""Run a job in this process, also as a dry run."""

from contextlib import suppress
from typing import Any

from django.db import transaction

from stores.hqdb.locks import Locks
from stores.jobs.catalog import JOBS, Job
from stores.jobs.outcome import busy_document, outcome_recorded, run_document
from stores.jobs.run import begin_run, execute, work_on
from stores.jobs.start import create_run
from stores.models import JobRun
from stores.models.run import RunStatus


def run_inline(job: str | Job, *, dry_run: bool = False, **scope: Any) -> dict[str, Any]:
    """Run a job in this process and return its document.

    A run of the same job and scope that still waits for a worker is done here instead.
    Shape: `scope` is what start() takes of channels, companies, a business date, an order.
    """
    catalog_job = job if isinstance(job, Job) else JOBS[job]
    if dry_run:
        return dry_run_job(catalog_job, **scope)
    started = create_run(catalog_job, **scope)
    if not started.is_new and started.run.status != RunStatus.QUEUED:
        return busy_document(started.run)
    # The ledger says that it was stopped, and so does the document.
    with suppress(KeyboardInterrupt):
        execute(str(started.run.pk))
    run = JobRun.objects.get(pk=started.run.pk)
    return run_document(run) if run.is_final else busy_document(run)


def dry_run_job(job: Job, **scope: Any) -> dict[str, Any]:
    """What a run would do now: all of it happens in one transaction that is rolled back."""
    with Locks() as locks, transaction.atomic():
        started = create_run(job, **scope)
        if started.is_new and (run := begin_run(started.run.pk, locks.worker)):
            run.is_dry = True
            with outcome_recorded(run):
                work_on(run, locks, is_leader=True)
            result = run_document(JobRun.objects.get(pk=run.pk))
        else:
            result = busy_document(started.run)
        transaction.set_rollback(True)
        return result
