"""Run a job in this process, or rehearse it."""

from contextlib import suppress
from typing import Any

from django.db import transaction

from stores.hqdb.locks import Locks
from stores.jobs.catalog import JOBS, Job
from stores.jobs.outcome import busy_document, document, recorded
from stores.jobs.run import begin, execute, take_part
from stores.jobs.start import start
from stores.models import JobRun
from stores.models.run import RunStatus


def run_here(job: str | Job, *, dry_run: bool = False, **scope: Any) -> dict[str, Any]:
    """Run a job in this process and return its document.

    A run of the same job and scope that still waits for a worker is done here instead.
    Shape: `scope` is what start() takes of channels, companies, a business date, an order.
    """
    found = job if isinstance(job, Job) else JOBS[job]
    if dry_run:
        return rehearse(found, **scope)
    started = start(found, **scope)
    if not started.is_new and started.run.status != RunStatus.QUEUED:
        return busy_document(started.run)
    # The ledger says that it was stopped, and so does the document.
    with suppress(KeyboardInterrupt):
        execute(str(started.run.pk))
    run = JobRun.objects.get(pk=started.run.pk)
    return document(run) if run.is_final else busy_document(run)


def rehearse(job: Job, **scope: Any) -> dict[str, Any]:
    """What a run would do now: all of it happens in one transaction that is rolled back."""
    with Locks() as locks, transaction.atomic():
        started = start(job, **scope)
        if started.is_new and (run := begin(started.run.pk, locks.worker)):
            run.is_dry = True
            with recorded(run):
                take_part(run, locks, leads=True)
            found = document(JobRun.objects.get(pk=run.pk))
        else:
            found = busy_document(started.run)
        transaction.set_rollback(True)
        return found
