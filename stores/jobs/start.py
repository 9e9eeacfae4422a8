"""Put runs into the ledger, with all their steps; at most one of a job and scope is live."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Any

from django.db import IntegrityError, transaction

from stores.jobs import queue
from stores.jobs.catalog import Job
from stores.jobs.plan import plan_steps
from stores.jobs.stages import move_on
from stores.models import JobRun
from stores.models.run import EVERYTHING, ClockTime, RunStatus, StartedBy, Visits

# Of a scope in the ledger; what is longer is told apart by a digest.
MAX_SCOPE_LENGTH = 500


@dataclass(frozen=True)
class StartResult:
    """The run that answers a start: a new one, or the one that is already live.

    `waiting` are steps of a new one, to be enqueued once its rows are committed.
    """

    run: JobRun
    is_new: bool
    waiting: tuple[int, ...] = ()


def create_run(
    job: Job,
    *,
    channels: Sequence[str] = (),
    companies: Sequence[str] = (),
    business_date: date | None = None,
    order_number: str = "",
    started_by: str = StartedBy.COMMAND,
    user: Any = None,
    visits: str = Visits.ALL,
    has_begun: bool = False,
) -> StartResult:
    """Put a run and its steps into the ledger, unless one of the same job and scope is live.

    One that finds no place to visit ends at once. One that `has_begun` does not wait for a worker,
    as its starter does it. Effects: rows in the caller's transaction.
    """
    run = JobRun(
        job=job.code,
        channels=sorted(set(channels)),
        companies=sorted(set(companies)),
        business_date=business_date,
        order_number=order_number,
        started_by=started_by,
        requested_by=user,
        visits=visits,
    )
    run.scope = scope_of(run)
    if has_begun:
        run.status, run.started_at = RunStatus.RUNNING, ClockTime()
    while True:
        try:
            with transaction.atomic():
                run.save(force_insert=True)
                plan_steps(run)
                return StartResult(run, is_new=True, waiting=tuple(move_on(run)))
        except IntegrityError:
            live = JobRun.objects.live().filter(job=run.job, scope=run.scope).first()
        if live is not None:
            return StartResult(live, is_new=False)


def scope_of(run: JobRun) -> str:
    """What a run is about, in one text that two equal requests share."""
    words = [*run.channels, *(f"company:{code}" for code in run.companies)]
    words += [f"date:{run.business_date}"] if run.business_date else []
    words += [f"order:{run.order_number}"] if run.order_number else []
    text = ",".join(words) or EVERYTHING
    if len(text) <= MAX_SCOPE_LENGTH:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{text[: MAX_SCOPE_LENGTH - 20]}… {digest}"


def start_job(job: Job, **fields: Any) -> StartResult:
    """Start a run for the workers; its first steps are enqueued once its rows are committed."""
    started = create_run(job, **fields)
    if started.is_new:
        transaction.on_commit(partial(queue.enqueue, started.waiting), robust=True)
    return started
