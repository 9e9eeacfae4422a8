"""Carry out a step of a run: claim, work, record, move on."""

import logging
import time
from copy import copy
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from django.conf import settings
from django.db import connection, transaction
from django.db.models.functions import Coalesce

from stores.channeldb.errors import ChannelError
from stores.failpoints import failpoint
from stores.hqdb.locks import Locks, connection_named, leases_renewed
from stores.hqdb.retry import retry_on_conflict
from stores.jobs import queue
from stores.jobs.catalog import JOBS
from stores.jobs.channel_health import record_visit
from stores.jobs.claim import claim_turn
from stores.jobs.outcome import STOPPED, signals_unwrapped, technical_detail
from stores.jobs.stages import move_on
from stores.messages.message import EMPTY, Message
from stores.models import JobRun, RunStep
from stores.models.run import ClockTime, RunCancelled, RunLost, RunStatus, StepFailed

logger = logging.getLogger(__name__)

# A step that waits for another run looks so often whether its place is free.
BUSY_POLL_S = 0.5
BUSY_ELSEWHERE = Message("busy_elsewhere")
UNEXPECTED_ERROR = Message("unexpected_error")


def execute(step_id: str) -> None:
    """Do the waiting steps of a step's turn; after each, enqueue what may follow.

    All the queue ever calls. A message too many finds nothing to claim, and ends.
    """
    with Locks() as locks, connection_named(locks.worker), leases_renewed(locks):
        for row in claim_turn(int(step_id), locks.worker):
            queue.enqueue(perform_step(row, locks))


def perform_step(row: RunStep, locks: Locks) -> list[int]:
    """Do a claimed step, record how it went, and move its run on.

    Returns steps that may be enqueued then.
    """
    try:
        with locks.held(row.lock_name) as is_free:
            result = attempt_step(row, locks) if is_free else wait_for_place(row)
            waiting = retry_on_conflict(partial(record, row, result), f"outcome of {row}")
            failpoint("step:after_outcome")
            return waiting
    except RunLost:
        logger.info("run=%s %s belongs to another process now", row.run_id, row)
        return []


@dataclass(frozen=True)
class Result:
    """How the work on a step ended. Without a status it went well, and its counts say the rest."""

    status: RunStatus | None = None
    message: Message = EMPTY
    # How long a visit took; None if it says nothing of the channel.
    seconds: float | None = None


def attempt_step(row: RunStep, locks: Locks) -> Result:
    """Do the step in its place, and say how it went.

    Errors: RunLost; psycopg2.Error if HQ has dropped the worker, whose step is given back then.
    """
    step, row.began_at = JOBS[row.run.job].step(row.step), time.monotonic()
    try:
        with signals_unwrapped():
            retry_on_conflict(partial(step.execute, row), str(row))
    except ChannelError as error:
        return Result(RunStatus.FAILED, error.message, time.monotonic() - row.began_at)
    except StepFailed as error:
        if error.__cause__:
            note_detail(row, error.__cause__)
        return Result(RunStatus.FAILED, error.message)
    except RunCancelled:
        return Result(RunStatus.CANCELLED, STOPPED)
    except RunLost:
        raise
    except Exception as error:
        # A worker that was cut off meets this at whatever it does next.
        connection.close_if_unusable_or_obsolete()
        row.require_ownership(may_stop=False, lock=False)
        locks.fetch_value("SELECT 1")
        # One place must not stop the others, whatever went wrong in it.
        note_detail(row, error)
        # HQ's own errors before a channel is opened do not keep others from visiting it.
        seconds = time.monotonic() - row.began_at if row.has_entered else None
        return Result(RunStatus.FAILED, UNEXPECTED_ERROR, seconds)
    return Result(seconds=time.monotonic() - row.began_at)


def note_detail(row: RunStep, error: BaseException) -> None:
    detail = f"{row}\n{technical_detail(error)}\n"
    logger.error("run=%s step=%s", row.run_id, detail)
    row.run.append_detail(detail)


def wait_for_place(row: RunStep) -> Result:
    """Let some time pass for a step whose place another run has, if its job waits for that.

    It waits no longer than a step may be silent, whoever does it.
    """
    moment = ClockTime() - timedelta(seconds=settings.STEP_SILENT_S)
    waited_too_long = RunStep.objects.filter(pk=row.pk, busy_since__lt=moment)
    if not JOBS[row.run.job].waits_while_busy or waited_too_long.exists():
        return Result(RunStatus.BUSY, BUSY_ELSEWHERE)
    time.sleep(BUSY_POLL_S)
    return Result(RunStatus.QUEUED, BUSY_ELSEWHERE + Message("run_follows"))


def record(row: RunStep, result: Result) -> list[int]:
    """Record how it went, and move the run on, in one transaction.

    Returns steps that may be enqueued then.
    """
    # Of what is rolled back nothing may stay in the row.
    row = copy(row)
    with transaction.atomic():
        run = JobRun.objects.locked(row.run_id)
        if result.status == RunStatus.QUEUED:
            busy_since = Coalesce("busy_since", ClockTime())
            row.release(message=result.message, busy_since=busy_since)
        else:
            well = RunStatus.SUCCEEDED if row.has_effect else RunStatus.NOTHING_TO_DO
            row.finish(result.status or well, result.message)
            if row.database and result.seconds is not None:
                record_visit(row, result.seconds)
        waiting = move_on(run)
        failpoint("step:before_outcome")
    return [row.pk, *waiting] if result.status == RunStatus.QUEUED else waiting
