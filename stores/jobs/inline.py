"""Run a job in this process, also as a dry run."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

from django.db import transaction

from stores.hqdb.locks import Locks, connection_named, leases_renewed
from stores.hqdb.retry import retry_on_conflict
from stores.jobs.catalog import JOBS, Job
from stores.jobs.claim import claim_turn
from stores.jobs.outcome import SIGNALS, STOPPED
from stores.jobs.run import perform_step
from stores.jobs.stages import cancel_run, move_on, waiting_steps
from stores.jobs.stalled import recover_lost_steps
from stores.jobs.start import StartResult, create_run
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
    with here. A dry run is a new one, in one transaction that is rolled back. `report` is called
    after each step. Shape: `scope` is what create_run() takes of channels, companies, a business
    date, an order.
    """
    job = job if isinstance(job, Job) else JOBS[job]
    with (
        Locks() as locks,
        connection_named(locks.worker),
        leases_renewed(locks),
        rolled_back() if dry_run else nullcontext(),
    ):
        take = partial(take_run, job, locks, dry_run=dry_run, **scope)
        started, is_ours = retry_on_conflict(take, f"start of {job.code}")
        run = started.run
        if not is_ours:
            return run.as_busy_dict()
        try:
            run = perform_run(started, locks, report)
        except SIGNALS as error:
            if dry_run:
                raise
            stop_run(run, locks)
            # The ledger says that it was stopped, and so does the document.
            if not isinstance(error, KeyboardInterrupt):
                raise
            run = JobRun.objects.get(pk=run.pk)
        return run.as_dict()


@contextmanager
def rolled_back() -> Iterator[None]:
    """One transaction of which nothing stays."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def take_run(job: Job, locks: Locks, *, dry_run: bool, **scope: Any) -> tuple[StartResult, bool]:
    """The run to be done, a new one or the one that is live; and whether it is for us to do."""
    with transaction.atomic():
        started = create_run(job, has_begun=True, **scope)
        run, run.is_dry = started.run, dry_run
        if dry_run:
            return started, started.is_new
        # Before others see the row: of two commands at the same moment one does it.
        is_ours = locks.acquire(f"run:{run.pk}")
    if started.is_new:
        return started, is_ours
    recover_lost_steps(run=run)
    return started, is_ours and not run.steps.filter(status=RunStatus.RUNNING).exists()


def perform_run(started: StartResult, locks: Locks, report: Report) -> JobRun:
    """Do the steps of a run until it has ended; workers may do some, too. The run as it ended."""
    run = started.run
    waiting = deque(started.waiting if started.is_new else waiting_steps(run.pk))
    while waiting or not (present := JobRun.objects.get(pk=run.pk)).has_ended:
        if not waiting:
            time.sleep(STAGE_POLL_S)
            recover_lost_steps(run=run)
            waiting.extend(waiting_steps(run.pk))
            continue
        for row in claim_turn(waiting.popleft(), locks.worker, run):
            waiting.extend(perform_step(row, locks))
            report(run)
    return present


def stop_run(run: JobRun, locks: Locks) -> None:
    """Cancel a run, with the step that this process was doing."""
    with transaction.atomic():
        cancel_run(run.pk)
        for row in run.steps.filter(worker=locks.worker):
            row.finish(RunStatus.CANCELLED, STOPPED)
        move_on(JobRun.objects.locked(run.pk))
