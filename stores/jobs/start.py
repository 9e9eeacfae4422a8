"""Put runs into the ledger; at most one of a job and scope is live."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from django.db import IntegrityError, transaction

from stores.failpoints import failpoint
from stores.hqdb.locks import is_alive
from stores.jobs.catalog import Job
from stores.jobs.plan import ring_on_commit
from stores.jobs.stalled import bury
from stores.models import JobRun
from stores.models.run import RunStatus, StartedBy

# Of a scope in the ledger; what is longer is told apart by a digest.
MOST_CHARACTERS = 500


@dataclass(frozen=True)
class Started:
    """The run that answers a start: a new one, or the one that is already live."""

    run: JobRun
    is_new: bool


def start(
    job: Job,
    *,
    channels: Sequence[str] = (),
    companies: Sequence[str] = (),
    business_date: date | None = None,
    order_number: str = "",
    started_by: str = StartedBy.COMMAND,
    user: Any = None,
) -> Started:
    """Put a run into the ledger, unless one of the same job and scope is live.

    A live run whose process has died is marked lost at once, and the new one follows it.
    Effects: one row, in the caller's transaction.
    """
    wanted = {
        "job": job.code,
        "scope": scope_of(channels, companies, business_date, order_number),
        "channels": sorted(set(channels)),
        "companies": sorted(set(companies)),
        "business_date": business_date,
        "order_number": order_number,
        "started_by": started_by,
        "requested_by": user,
    }
    lost: JobRun | None = None
    while True:
        try:
            with transaction.atomic():
                return Started(JobRun.objects.create(successor_of=lost, **wanted), is_new=True)
        except IntegrityError:
            live = JobRun.objects.live().filter(job=job.code, scope=wanted["scope"]).first()
        if live is None:
            continue
        if live.status == RunStatus.QUEUED or is_alive(live.pk) or not bury(live):
            return Started(live, is_new=False)
        failpoint("run:after_lost")
        lost = live


def scope_of(
    channels: Sequence[str],
    companies: Sequence[str],
    business_date: date | None,
    order_number: str,
) -> str:
    """What a run is about, in one text that two equal requests share."""
    words = [*sorted(set(channels)), *(f"company:{code}" for code in sorted(set(companies)))]
    words += [f"date:{business_date}"] if business_date else []
    words += [f"order:{order_number}"] if order_number else []
    text = ",".join(words) or "*"
    if len(text) <= MOST_CHARACTERS:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f"{text[: MOST_CHARACTERS - 20]}… {digest}"


def start_and_ring(job: Job, **wanted: Any) -> Started:
    """Start a run for the workers; workers are called once the row is committed."""
    started = start(job, **wanted)
    if started.is_new:
        ring_on_commit(started.run)
    return started
