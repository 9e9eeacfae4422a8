"""Carry out a run: lead it or help with it, step after step, each in its place."""

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from stores.channeldb.errors import ChannelError
from stores.failpoints import failpoint
from stores.hqdb.locks import (
    Locks,
    connection_named,
    heartbeat,
    is_alive,
    leader_lock,
    participants_lock,
)
from stores.hqdb.retry import retry_on_conflict
from stores.hqdb.threads import SIGNALS
from stores.jobs.catalog import JOBS, Step
from stores.jobs.channel_health import note_visits
from stores.jobs.claim import (
    OCCUPIED,
    Left,
    claim,
    fair_share,
    give_back,
    next_step,
    put_off,
    take_back,
    what_is_left,
)
from stores.jobs.outcome import (
    STOPPED,
    end,
    finish,
    has_effect,
    recorded,
    technical_detail,
    unwrapped,
)
from stores.jobs.plan import plan
from stores.jobs.pool import SIDE_BY_SIDE, Hands
from stores.models import JobRun, RunStep
from stores.models.run import RunCancelled, RunLost, RunStatus, StepFailed
from stores.models.step import StepGivenBack

logger = logging.getLogger(__name__)

# How often a worker looks whether a step has become free, and whether another one died.
LOOK_AGAIN_S = 0.05
# How often it looks whether another run has left a step's place.
OCCUPIED_S = 0.5
LOOK_FOR_THE_DEAD_S = 1
# A worker that is rung for at the same time as the leader waits so long for it to begin.
BEGIN_S = 2
UNFORESEEN = "Unexpected error; see the run's technical details."


def execute(run_id: str) -> None:
    """Do one run, or help with it. All the queue ever calls; a ring too many ends at once."""
    with Locks() as locks, connection_named(locks.worker):
        if locks.acquire(leader_lock(UUID(run_id))):
            if run := begin(UUID(run_id), locks.worker):
                with heartbeat(locks, run.pk), recorded(run):
                    take_part(run, locks, leads=True)
        elif run := begun_elsewhere(UUID(run_id)):
            with heartbeat(locks, run.pk), suppress(RunLost, RunCancelled):
                take_part(run, locks, leads=False)


def begin(run_id: UUID, worker: str) -> JobRun | None:
    """Claim a run and write down its steps; None if it has been begun or has ended.

    A run of a newer release, whose job is unknown here, is left to that release.
    """
    if not JobRun.objects.filter(pk=run_id, job__in=JOBS).exists():
        return None
    with transaction.atomic():
        run = JobRun.objects.claim(run_id, worker)
        if run and (refusal := why_refused(run)):
            end(run, RunStatus.FAILED, refusal)
            return None
        if run:
            plan(run)
    failpoint("run:after_claim")
    return run


def why_refused(run: JobRun) -> str:
    """The sentence for a run whose starter may not start it any more, or nothing."""
    user = run.requested_by
    if user is None or user.has_perms(JOBS[run.job].rights):
        return ""
    return f"Refused: {user.get_username()} no longer has permission to start this."


def begun_elsewhere(run_id: UUID) -> JobRun | None:
    """The run that another process leads, once it has begun; None if there is nothing to help."""
    deadline = time.monotonic() + BEGIN_S
    while run := JobRun.objects.live().filter(pk=run_id, job__in=JOBS).first():
        if run.status == RunStatus.RUNNING:
            return run
        if time.monotonic() > deadline or not is_alive(run_id):
            return None
        time.sleep(LOOK_AGAIN_S)
    return None


def take_part(run: JobRun, locks: Locks, *, leads: bool) -> None:
    """Do one free step after the other, visits side by side. Who leads stays until all have ended.

    Errors: RunLost, RunCancelled.
    """
    locks.acquire_shared(participants_lock(run.pk))
    looked_at = time.monotonic()
    met: dict[int, float] = {}
    with Hands(locks.worker) as hands:
        while True:
            left = what_is_left(run)
            claimed, later = take_step(run, locks, hands, left, met)
            if later != claimed:
                continue
            if left.is_over or (not leads and is_wanted_elsewhere(run, waits=bool(left.waiting))):
                return
            if time.monotonic() - looked_at > LOOK_FOR_THE_DEAD_S:
                take_back(run, locks.worker)
                looked_at = time.monotonic()
            hands.wait(OCCUPIED_S if later else LOOK_AGAIN_S)


def take_step(
    run: JobRun, locks: Locks, hands: Hands, left: Left, met: dict[int, float]
) -> tuple[list[RunStep], list[RunStep]]:
    """Claim the next step that is free, and do it here or have a hand do it.

    Returns what was claimed, and what of it comes later because another run is doing it.
    """
    step = next_step(JOBS[run.job], left)
    if not step or not has_free_hand(hands, run, left, step):
        return [], []
    rows = claim(run, step, locks.worker)
    mine, later = occupy(rows, locks, met)
    if mine:
        work = partial(perform, step, mine, locks)
        is_alone = left.waiting[step.word] == 1 and not hands.busy
        # A rehearsal is one transaction, so all of it happens on one connection.
        if step.per != "database" or is_alone or run.is_dry:
            work()
        else:
            hands.take(work, mine[0])
    return rows, later


def has_free_hand(hands: Hands, run: JobRun, left: Left, step: Step) -> bool:
    """Whether this worker may do another step at the same time: its share of those still open."""
    if not hands.busy:
        return True
    still_open = left.waiting[step.word] + left.running.get(step.word, 0)
    return len(hands.busy) < min(SIDE_BY_SIDE, fair_share(run, still_open))


def is_wanted_elsewhere(run: JobRun, *, waits: bool) -> bool:
    """Whether a helper should leave: nothing waits here any more, or another run does."""
    return not waits or JobRun.objects.filter(status=RunStatus.QUEUED).exists()


def occupy(
    rows: list[RunStep], locks: Locks, met: dict[int, float]
) -> tuple[list[RunStep], list[RunStep]]:
    """Take the places of these steps. Returns those that are free, and those that come later.

    Where another run is doing the step, this one comes later or is told so.
    """
    mine = [row for row in rows if locks.acquire(row.lock_name)]
    later = [row for row in rows if row not in mine and may_wait(row, met)]
    if later:
        put_off(later)
    finish([row for row in rows if row not in [*mine, *later]], RunStatus.BUSY, OCCUPIED)
    return mine, later


def may_wait(row: RunStep, met: dict[int, float]) -> bool:
    """Whether to wait for the other run, which this process met at the step at such a moment.

    A step that moves no more is ended after as long, whoever does it.
    """
    since = met.setdefault(row.pk, time.monotonic())
    return JOBS[row.run.job].waits and time.monotonic() - since < settings.STEP_SILENT_S


def perform(step: Step, rows: list[RunStep], locks: Locks) -> None:
    """Do one step in its place, or in those of one group, and leave it. Errors: see attempt()."""
    try:
        attempt(step, rows)
    finally:
        for row in rows:
            locks.release(row.lock_name)


def attempt(step: Step, rows: list[RunStep]) -> None:
    """Do the step and record how it went.

    Errors: RunLost, RunCancelled; trouble of one place is its outcome.
    """
    begun = time.monotonic()
    for row in rows:
        row.begun = begun
    try:
        with unwrapped():
            retry_on_conflict(partial(step.do, rows), f"{step.word} {rows[0].place}")
    except StepGivenBack:
        give_back(rows)
    except ChannelError as error:
        settle(step, rows, time.monotonic() - begun, trouble=str(error))
    except RunCancelled:
        finish(rows, RunStatus.CANCELLED, STOPPED)
        raise
    except SIGNALS:
        give_back(rows)
        raise
    except RunLost:
        raise
    except StepFailed as error:
        finish(rows, RunStatus.FAILED, str(error))
    except Exception as error:
        # A worker that was cut off meets this at whatever it does next.
        connection.close_if_unusable_or_obsolete()
        rows[0].hold(may_stop=False, lock=False)
        # One place must not stop the others, whatever went wrong in it.
        detail = f"{step.word} {rows[0].place}\n{technical_detail(error)}\n"
        logger.error("run=%s step=%s", rows[0].run_id, detail)
        rows[0].run.keep_detail(detail)
        settle(step, rows, time.monotonic() - begun, trouble=UNFORESEEN)
    else:
        settle(step, rows, time.monotonic() - begun)


def settle(step: Step, rows: Sequence[RunStep], seconds: float, *, trouble: str = "") -> None:
    """Record the outcomes of steps that came to their end, and how the visits went."""
    with transaction.atomic():
        open_ones = [row for row in rows if row.status == RunStatus.RUNNING]
        if trouble:
            finish(open_ones, RunStatus.FAILED, trouble)
        else:
            active = [row for row in open_ones if has_effect(row)]
            finish(active, RunStatus.SUCCEEDED)
            finish(open_ones, RunStatus.NOTHING_TO_DO)
        if step.per in ("database", "group"):
            note_visits(step, rows, seconds)
