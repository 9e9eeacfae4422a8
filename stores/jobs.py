"""When work runs: start, claim, carry out, record, heal.

The ledger in PostgreSQL is the truth, the queue a doorbell. What may not overlap is locked per step
and database or company; one started job is one run, whose steps fail, or find themselves busy,
alone.
"""

import logging
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import Q
from django.db.models.functions import Now

from stores import doorbell
from stores.channeldb.errors import ChannelError
from stores.locks import Locks, heartbeat, is_alive, name_of
from stores.models import ChannelDatabase, Company, JobRun, RunStep
from stores.models.exchange import DownloadStatus, UploadStatus
from stores.models.run import LIVE, RunCancelled, RunLost, RunStatus, StartedBy
from stores.pipeline import JOBS, Job, Step

logger = logging.getLogger(__name__)

# Words of the contract that mean that a run did something.
EFFECTS = ("staged", "quarantined", "converted", "updated", "linked", "distributed", "posted")
MOST_ATTEMPTS = 5
# What Ctrl-C and SIGTERM raise.
SIGNALS = (KeyboardInterrupt, SystemExit)
GONE = "The process that executed it is gone."


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
    started_by: str = StartedBy.COMMAND,
    user: Any = None,
) -> Started:
    """Put a run into the ledger, unless one of the same job and scope is live.

    A live run whose process has died is marked lost at once, and the new one follows it.
    Effects: one row, in the caller's transaction.
    """
    wanted = {
        "job": job.code,
        "scope": scope_of(channels, companies),
        "channels": sorted(set(channels)),
        "companies": sorted(set(companies)),
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
        lost = live


def scope_of(channels: Sequence[str], companies: Sequence[str]) -> str:
    """What a run is about, in one text that two equal requests share."""
    words = [*sorted(set(channels)), *(f"company:{code}" for code in sorted(set(companies)))]
    return ",".join(words) or "*"


def start_and_ring(job: Job, **wanted: Any) -> Started:
    """Start a run for the workers; the bell is rung once the row is committed."""
    started = start(job, **wanted)
    if started.is_new:
        transaction.on_commit(partial(doorbell.ring, started.run.pk), robust=True)
    return started


def bury(run: JobRun) -> bool:
    """Mark a run as lost whose process is gone. False if it ended or was taken over meanwhile.

    Effects: the run, and what it left open: steps and sessions.
    """
    with transaction.atomic():
        buried = JobRun.objects.filter(
            pk=run.pk, status=RunStatus.RUNNING, fencing_no=run.fencing_no
        ).update(status=RunStatus.LOST, ended_at=Now(), message=GONE)
        if buried:
            close_what_is_open(run, RunStatus.LOST, GONE)
    return bool(buried)


def close_what_is_open(run: JobRun, status: RunStatus, message: str) -> None:
    """End the steps and sessions that a run did not come to, or left in the middle."""
    run.steps.filter(status__in=LIVE).update(status=status, ended_at=Now())
    uploads = run.uploadsessions.all()
    uploads.filter(status=UploadStatus.UPLOADED).update(
        status=UploadStatus.APPLY_FAILED, message=message
    )
    uploads.filter(status__in=[UploadStatus.STARTED, UploadStatus.AVAILABLE]).update(
        status=UploadStatus.UPLOAD_FAILED, message=message
    )
    open_downloads = [
        DownloadStatus.STARTED,
        DownloadStatus.AVAILABLE,
        DownloadStatus.REQUESTED,
        DownloadStatus.DOWNLOADED,
    ]
    run.downloadsessions.filter(status__in=open_downloads).update(
        status=DownloadStatus.DOWNLOAD_FAILED, message=message
    )


# ------------------------------------------------------------------ carrying out


def execute(run_id: str) -> None:
    """Do one run. All the queue ever calls; a second ring finds it claimed and leaves."""
    with Locks() as locks:
        if not locks.acquire(name_of(UUID(run_id))):
            return
        run = JobRun.objects.claim(UUID(run_id))
        if run is None:
            return
        with heartbeat(locks, run.pk, run.fencing_no or 0), recorded(run):
            for step, row in plan(run):
                perform(step, row, locks)


@contextmanager
def recorded(run: JobRun) -> Iterator[None]:
    """End the run with its outcome and sentence, whatever happens inside.

    A crash is recorded with its traceback and flies on.
    """
    try:
        yield
    except RunLost:
        logger.warning("run=%s was taken over or ended by another process", run.pk)
    except (RunCancelled, *SIGNALS) as stop:
        end(run, RunStatus.CANCELLED, "Stopped; what was committed stays.")
        if not isinstance(stop, RunCancelled):
            raise
    except Exception as error:
        end(run, RunStatus.FAILED, "Unforeseen error.", error=technical_detail(error))
        raise
    else:
        end(run, outcome_of(list(run.steps.all())))


def plan(run: JobRun, *, is_dry: bool = False) -> list[tuple[Step, RunStep]]:
    """Write down the run's steps, one row per channel database or company, in order."""
    planned: list[tuple[Step, RunStep]] = []
    databases = databases_of(run)
    companies = Company.objects.filter(
        pk__in={database.channel.company_id for database in databases}
    )
    for step in JOBS[run.job].steps:
        for place in databases if step.per == "database" else companies:
            row = RunStep(run=run, position=len(planned) + 1, step=step.word)
            row.is_dry = is_dry
            setattr(row, step.per, place)
            planned.append((step, row))
    RunStep.objects.bulk_create([row for _, row in planned])
    return planned


def databases_of(run: JobRun) -> list[ChannelDatabase]:
    """The databases that a run visits: the enabled ones of its channels or companies, or all."""
    wanted = Q()
    if run.channels:
        wanted |= Q(channel__code__in=run.channels)
    if run.companies:
        wanted &= Q(channel__company__in=run.companies)
    return list(ChannelDatabase.objects.enabled().with_channel().filter(wanted))


def perform(step: Step, row: RunStep, locks: Locks) -> None:
    """Do one step in one place; trouble there stays there."""
    if not locks.acquire(row.lock_name):
        row.finish(RunStatus.BUSY, "Another run is doing this step here.")
        return
    try:
        row.begin()
        step.work(row)
    except ChannelError as error:
        row.finish(RunStatus.FAILED, str(error))
        note_visit(row, str(error))
    except (RunCancelled, *SIGNALS):
        row.finish(RunStatus.CANCELLED, "Stopped; what was committed stays.")
        raise
    except RunLost:
        raise
    except Exception as error:
        # One place must not stop the others, whatever went wrong in it.
        detail = technical_detail(error)
        logger.error("run=%s step=%s place=%s\n%s", row.run_id, row.step, row.place, detail)
        keep_detail(row, detail)
        row.finish(RunStatus.FAILED, "Unforeseen error; the run has the technical detail.")
    else:
        row.finish(RunStatus.SUCCEEDED if has_effect(row) else RunStatus.NOTHING_TO_DO)
        note_visit(row, "")
    finally:
        locks.release(row.lock_name)


def note_visit(row: RunStep, error: str) -> None:
    """Remember at the channel database how the last visit went."""
    if row.database_id:
        seen = {} if error else {"last_visited_at": Now()}
        ChannelDatabase.objects.filter(pk=row.database_id).update(last_error=error[:300], **seen)


def technical_detail(error: BaseException) -> str:
    """Where an error came from and of what kind it is, without its text, which may quote a row.

    Of a database's error also the code and the constraint.
    """
    parts = []
    for cause in (error.__cause__, error):
        if cause is None:
            continue
        diagnosis = getattr(cause, "diag", None)
        facts = [getattr(cause, "pgcode", None), getattr(diagnosis, "constraint_name", None)]
        kind = f"{type(cause).__module__}.{type(cause).__qualname__}"
        parts.append("".join(traceback.format_tb(cause.__traceback__)))
        parts.append(" ".join([kind, *(fact for fact in facts if fact)]) + "\n")
    return "".join(parts)


def keep_detail(row: RunStep, text: str) -> None:
    """Fold the technical detail into the run, for those who look for it."""
    run = row.run
    run.error = f"{run.error}{row.step} {row.place}\n{text}\n"
    JobRun.objects.filter(pk=run.pk).update(error=run.error)


def has_effect(row: RunStep) -> bool:
    return any(row.counts.get(word) for word in EFFECTS)


def outcome_of(steps: Sequence[RunStep]) -> RunStatus:
    """The outcome of a run from those of its steps (contract, section 4)."""
    found = {RunStatus(step.status) for step in steps}
    trouble = found & {RunStatus.FAILED, RunStatus.BUSY}
    if trouble == found == {RunStatus.BUSY}:
        return RunStatus.BUSY
    if trouble and found - trouble:
        return RunStatus.PARTLY
    if trouble:
        return RunStatus.FAILED
    return RunStatus.SUCCEEDED if RunStatus.SUCCEEDED in found else RunStatus.NOTHING_TO_DO


def end(run: JobRun, status: RunStatus, message: str = "", *, error: str = "") -> None:
    """Close the run with the sum of its steps' counts and a sentence for everyone."""
    if status in (RunStatus.CANCELLED, RunStatus.FAILED):
        close_what_is_open(run, RunStatus.CANCELLED, "The run ended before.")
    steps = list(run.steps.select_related("database__channel", "company"))
    counts = sum_counts(steps)
    run.end(
        status, message or sentence(steps, status, counts), counts=counts, error=error or run.error
    )


def sum_counts(steps: Sequence[RunStep]) -> dict[str, int]:
    total: dict[str, int] = {}
    for step in steps:
        for word, rows in step.counts.items():
            total[word] = total.get(word, 0) + rows
    return total


def sentence(steps: Sequence[RunStep], status: RunStatus, counts: dict[str, int]) -> str:
    """What a run did, and the first thing that went wrong."""
    done = ", ".join(f"{rows:,} {word}" for word, rows in counts.items() if word != "read")
    trouble = [step for step in steps if step.status in (RunStatus.FAILED, RunStatus.BUSY)]
    parts = []
    if status == RunStatus.NOTHING_TO_DO:
        parts.append("There was nothing to do.")
    if done:
        parts.append(f"{done[0].upper()}{done[1:]}.")
    if trouble:
        first, more = trouble[0], len(trouble) - 1
        parts.append(first.message + (f" And {more} more." if more else ""))
    return " ".join(parts)[:500] or "Done."


# ------------------------------------------------------------------ here and now


def run_here(
    job: str | Job,
    *,
    channels: Sequence[str] = (),
    companies: Sequence[str] = (),
    dry_run: bool = False,
) -> dict[str, Any]:
    """Run a job in this process and return its document.

    A run of the same job and scope that still waits for a worker is done here instead.
    """
    found = job if isinstance(job, Job) else JOBS[job]
    if dry_run:
        return rehearse(found, channels, companies)
    started = start(found, channels=channels, companies=companies)
    if not started.is_new and started.run.status != RunStatus.QUEUED:
        return busy_document(started.run)
    # The ledger says that it was stopped, and so does the document.
    with suppress(KeyboardInterrupt):
        execute(str(started.run.pk))
    run = JobRun.objects.get(pk=started.run.pk)
    return document(run) if run.is_final else busy_document(run)


def rehearse(job: Job, channels: Sequence[str], companies: Sequence[str]) -> dict[str, Any]:
    """What a run would do now: all of it happens in one transaction that is rolled back."""
    with Locks() as locks, transaction.atomic():
        started = start(job, channels=channels, companies=companies)
        if started.is_new and (run := JobRun.objects.claim(started.run.pk)):
            with recorded(run):
                for step, row in plan(run, is_dry=True):
                    perform(step, row, locks)
            found = document(JobRun.objects.get(pk=run.pk))
        else:
            found = busy_document(started.run)
        transaction.set_rollback(True)
        return found


def document(run: JobRun) -> dict[str, Any]:
    """The run as `run_job --json` prints it (contract, section 4)."""
    return {
        "run": str(run.pk),
        "job": run.job,
        "outcome": run.status,
        "message": run.message,
        "counts": run.counts,
        "seconds": run.seconds or 0.0,
        "steps": [
            {
                "step": step.step,
                "channel": step.database.label if step.database else None,
                "company": step.company_id,
                "outcome": step.status,
                "message": step.message,
                "counts": step.counts,
                "seconds": step.seconds or 0.0,
            }
            for step in run.steps.select_related("database__channel")
        ],
    }


def busy_document(run: JobRun) -> dict[str, Any]:
    """The answer to a start while a run of the same job and scope is live."""
    message = f"{run.job} is already running ({run.short_id})."
    return document(run) | {"outcome": RunStatus.BUSY.value, "message": message, "steps": []}


# ----------------------------------------------------------------------- healing


def heal() -> list[str]:
    """Take over runs whose process died, and ring again for those that still wait.

    Effects: lost runs end, each with a queued successor. Returns what was done, in sentences.
    """
    told = []
    for run in JobRun.objects.filter(status=RunStatus.RUNNING):
        if not is_alive(run.pk) and (successor := succeed(run)):
            told.append(f"{run} was lost; {successor} follows it.")
    for run in waiting_unheard():
        if doorbell.ring(run.pk):
            told.append(f"Rang again for {run}.")
    return told


def succeed(run: JobRun) -> JobRun | None:
    """End a lost run and put its successor into the ledger; None beyond the last attempt."""
    with transaction.atomic():
        if not bury(run) or run.attempt >= MOST_ATTEMPTS or run.cancel_requested_at:
            return None
        successor = JobRun.objects.create(
            job=run.job,
            scope=run.scope,
            channels=run.channels,
            companies=run.companies,
            started_by=run.started_by,
            requested_by=run.requested_by,
            attempt=run.attempt + 1,
            successor_of=run,
        )
        transaction.on_commit(partial(doorbell.ring, successor.pk), robust=True)
        return successor


def waiting_unheard() -> list[JobRun]:
    """Queued runs for which the bell has not been rung lately."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT id FROM job_run
                WHERE status = 'queued'
                  AND greatest(rung_at, created_at) < now() - %s * interval '1 second'""",
            [settings.RING_AGAIN_S],
        )
        ids = [row[0] for row in cursor.fetchall()]
    return list(JobRun.objects.filter(pk__in=ids, status=RunStatus.QUEUED))
