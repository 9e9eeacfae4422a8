"""Carry out a step of a run: claim, work, record, move on."""

import logging
import time
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import takewhile
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models.functions import Coalesce

from stores.channeldb.errors import ChannelError
from stores.failpoints import failpoint
from stores.hqdb.locks import Locks, connection_named, heartbeat
from stores.hqdb.retry import retry_on_conflict
from stores.jobs import queue
from stores.jobs.catalog import JOBS, Step
from stores.jobs.channel_health import record_visits
from stores.jobs.claim import BUSY_ELSEWHERE, begin_steps, claim_steps, release_steps
from stores.jobs.outcome import (
    STOPPED,
    finish_steps,
    has_effect,
    signals_unwrapped,
    technical_detail,
)
from stores.jobs.plan import TURN_S
from stores.jobs.stages import move_on
from stores.models import JobRun, RunStep
from stores.models.run import ClockTime, RunCancelled, RunLost, RunStatus, StepFailed

logger = logging.getLogger(__name__)

# A step that waits for another run looks so often whether its place is free.
BUSY_POLL_S = 0.5
UNEXPECTED_ERROR = "Unexpected error; see the run's technical details."


def execute(step_id: str) -> None:
    """Do a step, and those whose turn it shares; then enqueue what may follow.

    All the queue ever calls. A message too many finds nothing to claim, and ends.
    """
    with Locks() as locks, connection_named(locks.worker), heartbeat(locks):
        rows = claim_steps(int(step_id), locks.worker)
        queue.enqueue(perform_steps(rows, locks))


def perform_steps(rows: list[RunStep], locks: Locks) -> list[int]:
    """Do claimed steps in one place after the other. Returns steps that may be enqueued then.

    When their time is over, the rest is left to whoever is free.
    """
    waiting: list[int] = []
    deadline = time.monotonic() + TURN_S
    while rows:
        alike = same_visit(rows)
        waiting += perform_step(alike, locks)
        rows = rows[len(alike) :]
        if rows and time.monotonic() > deadline:
            release_steps(rows)
            return [*waiting, rows[0].pk]
    return waiting


def same_visit(rows: list[RunStep]) -> list[RunStep]:
    """The first of the steps, and all that are done with it by one call: those of its group."""
    if step_of(rows[0]).per != "group":
        return rows[:1]
    group = rows[0].its_database.group_id
    return list(takewhile(lambda row: row.its_database.group_id == group, rows))


def step_of(row: RunStep) -> Step:
    return JOBS[row.run.job].steps[row.stage - 1]


def perform_step(rows: list[RunStep], locks: Locks) -> list[int]:
    """Do one step in its place, or in those of one group; record how it went, and move the run on.

    Returns steps that may be enqueued then.
    """
    free = [row for row in rows if locks.acquire(row.lock_name)]
    busy = [row for row in rows if row not in free]
    try:
        attempt = attempt_step(free, locks) if free else None
        if busy and JOBS[rows[0].run.job].waits_while_busy:
            time.sleep(BUSY_POLL_S)
        waiting = retry_on_conflict(partial(record, free, busy, attempt), f"outcome of {rows[0]}")
        failpoint("step:after_outcome")
        return waiting
    except RunLost:
        logger.warning("run=%s %s was taken over by another process", rows[0].run_id, rows[0])
        return []
    finally:
        for row in free:
            locks.release(row.lock_name)


@dataclass(frozen=True)
class Attempt:
    """How the work on a step ended. Without a status it went well, and its counts say the rest."""

    seconds: float
    status: RunStatus | None = None
    message: str = ""
    tells_of_channel: bool = True


def attempt_step(rows: list[RunStep], locks: Locks) -> Attempt:
    """Do the step in its places, and say how it went.

    Errors: RunLost; psycopg2.Error if HQ has dropped the worker, whose step is given back then.
    """
    step, began_at = step_of(rows[0]), time.monotonic()
    for row in rows:
        row.began_at = began_at

    def ended(*outcome: Any, **more: Any) -> Attempt:
        return Attempt(time.monotonic() - began_at, *outcome, **more)

    try:
        begin_steps(rows)
        rows[0].check_stop()
        with signals_unwrapped():
            retry_on_conflict(partial(step.execute, rows), f"{step.code} {rows[0].place}")
    except ChannelError as error:
        return ended(RunStatus.FAILED, str(error))
    except StepFailed as error:
        return ended(RunStatus.FAILED, str(error), tells_of_channel=False)
    except RunCancelled:
        return ended(RunStatus.CANCELLED, STOPPED, tells_of_channel=False)
    except RunLost:
        raise
    except Exception as error:
        # A worker that was cut off meets this at whatever it does next.
        connection.close_if_unusable_or_obsolete()
        rows[0].require_ownership(may_stop=False, lock=False)
        locks.fetch_value("SELECT 1")
        # One place must not stop the others, whatever went wrong in it.
        detail = f"{step.code} {rows[0].place}\n{technical_detail(error)}\n"
        logger.error("run=%s step=%s", rows[0].run_id, detail)
        rows[0].run.append_detail(detail)
        return ended(RunStatus.FAILED, UNEXPECTED_ERROR)
    return ended()


def record(free: list[RunStep], busy: list[RunStep], attempt: Attempt | None) -> list[int]:
    """Record how it went in all places, and move the run on, in one transaction.

    Returns steps that may be enqueued then.
    """
    with transaction.atomic():
        run = JobRun.objects.locked((free or busy)[0].run_id)
        if attempt:
            # Of what is rolled back nothing may stay in the rows.
            record_attempt([copy(row) for row in free], attempt)
        waiting = [*record_busy(busy), *move_on(run)]
        failpoint("step:before_outcome")
    return waiting


def record_attempt(rows: Sequence[RunStep], attempt: Attempt) -> None:
    """Record the outcomes of steps that came to their end, and how the visits went."""
    if attempt.status:
        finish_steps(rows, attempt.status, attempt.message)
    finish_steps([row for row in rows if has_effect(row)], RunStatus.SUCCEEDED)
    finish_steps(rows, RunStatus.NOTHING_TO_DO)
    step = step_of(rows[0])
    if attempt.tells_of_channel and step.per in ("database", "group"):
        record_visits(step, rows, attempt.seconds)


def record_busy(rows: Sequence[RunStep]) -> list[int]:
    """Let steps wait whose place another run has, or tell them so. Returns those that wait."""
    waiting = [row for row in rows if should_wait(row)]
    finish_steps([copy(row) for row in rows if row not in waiting], RunStatus.BUSY, BUSY_ELSEWHERE)
    release_steps(
        waiting,
        busy_since=Coalesce("busy_since", ClockTime()),
        message=f"{BUSY_ELSEWHERE} This run follows it.",
    )
    return [row.pk for row in waiting]


def should_wait(row: RunStep) -> bool:
    """Whether to wait for the other run: no longer than a step may be silent, whoever does it."""
    moment = ClockTime() - timedelta(seconds=settings.STEP_SILENT_S)
    waited = RunStep.objects.filter(pk=row.pk, busy_since__lt=moment)
    return JOBS[row.run.job].waits_while_busy and not waited.exists()
