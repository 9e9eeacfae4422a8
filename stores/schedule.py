"""The scheduler: until schedules can be edited it starts the pipeline every minute."""

import logging
import signal
import threading
import time
from collections.abc import Callable

import psycopg2
import redis
from django.db import DatabaseError, close_old_connections

from stores import doorbell, jobs
from stores.locks import Locks
from stores.models.run import StartedBy
from stores.pipeline import JOBS

logger = logging.getLogger(__name__)

PIPELINE_S = 60
HEAL_S = 5
CLEAN_UP_S = 30
TROUBLE = (DatabaseError, psycopg2.Error, redis.RedisError)


def keep(*, say: Callable[[str], object]) -> None:
    """Start and heal runs until SIGTERM; of several schedulers one acts, the others stand by."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    doorbell.wait_for_servers()
    while not stop.is_set():
        try:
            with Locks() as locks:
                stand_by_or_act(locks, stop, say)
        except TROUBLE:
            logger.warning("the servers do not answer; trying again")
        close_old_connections()
        stop.wait(1)


def stand_by_or_act(locks: Locks, stop: threading.Event, say: Callable[[str], object]) -> None:
    """Wait for the scheduler's lock, then act for as long as this process lives."""
    while not locks.acquire("scheduler"):
        if stop.wait(1):
            return
    due = {start_pipeline: 0.0, heal: 0.0, doorbell.clean_up: 0.0}
    every = {start_pipeline: PIPELINE_S, heal: HEAL_S, doorbell.clean_up: CLEAN_UP_S}
    while not stop.is_set():
        # The lock is gone with its connection; this raises then.
        locks.ask("SELECT 1")
        for task, at in due.items():
            if time.monotonic() >= at:
                due[task] = time.monotonic() + every[task]
                for sentence in task() or ():
                    say(sentence)
        stop.wait(1)


def heal() -> list[str]:
    return jobs.heal()


def start_pipeline() -> None:
    """Start the pipeline unless one is live."""
    jobs.start_and_ring(JOBS["pipeline"], started_by=StartedBy.SCHEDULE)
