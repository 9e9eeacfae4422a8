"""A worker: executes the runs that the queue names, and looks after all of them."""

import ctypes
import logging
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import redis
import rq
from django.conf import settings
from django.db import OperationalError, connection
from rq.serializers import JSONSerializer

from stores.jobs.queue import RunMessage, get_queue

logger = logging.getLogger(__name__)
PR_SET_PDEATHSIG = 1


class EvictingQueue(Exception):
    """Redis may drop messages when it is full: set its maxmemory-policy to noeviction."""


class Worker(rq.Worker):
    """Executes runs one at a time, each in a process of its own that dies with this one.

    Every few seconds, also while one is executed, it looks after all runs.
    """

    max_connection_wait_time = 5
    run_maintenance: Callable[[], object]
    is_hung: Callable[[str, int], bool]

    def setup_work_horse_signals(self) -> None:
        super().setup_work_horse_signals()  # type: ignore[no-untyped-call]
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    def run_maintenance_tasks(self) -> None:
        super().run_maintenance_tasks()  # type: ignore[no-untyped-call]
        self.maintain()

    def maintain_heartbeats(self, job: rq.job.Job, execution: Any) -> None:
        with suppress(redis.RedisError):
            super().maintain_heartbeats(job, execution)
        if self.maintain(job.args[0] if job.args else ""):
            # An alarm inside it would not end a statement that hangs.
            self.kill_horse()

    def maintain(self, run_id: str = "") -> bool:
        """Maintain all runs; says whether the work horse, at work on this run, hangs."""
        try:
            hangs = bool(run_id) and self.is_hung(run_id, self.horse_pid)
            self.run_maintenance()
            return hangs
        except OperationalError:
            logger.warning("HQ's database does not answer; trying again")
            return False
        finally:
            # Each run's process opens its own: in an inherited one a killed run's transaction
            # lives on.
            connection.close()


def run_worker(
    *, burst: bool, run_maintenance: Callable[[], object], is_hung: Callable[[str, int], bool]
) -> None:
    """Execute runs as they are enqueued; with `burst` only those that wait already.

    Survives a queue that goes away. Errors: EvictingQueue in production.
    """
    while True:
        wait_for_servers()
        connection.close()
        queue = get_queue()
        worker = Worker(
            [queue],
            connection=queue.connection,
            serializer=JSONSerializer,
            job_class=RunMessage,
            worker_ttl=settings.DISPATCH_S + 15,
            maintenance_interval=settings.DISPATCH_S,
            job_monitoring_interval=settings.DISPATCH_S,
        )
        worker.run_maintenance, worker.is_hung = run_maintenance, is_hung
        with signal_handlers_kept(), suppress(redis.RedisError):
            worker.work(burst=burst, logging_level="WARNING")
        if burst or worker._shutdown_requested_date:
            return
        logger.warning("the queue went away; the worker begins anew")


@contextmanager
def signal_handlers_kept() -> Iterator[None]:
    """Put the signal handlers back that a block replaces.

    A worker's would stop a worker that has ended, while the next one waits for the queue.
    """
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def wait_for_servers(is_over: Callable[[], bool] = lambda: False) -> None:
    """Return once PostgreSQL and the queue answer, or it is over.

    Errors: EvictingQueue in production.
    """
    while not is_over():
        try:
            connection.ensure_connection()
            require_noeviction()
        except (OperationalError, redis.RedisError):
            time.sleep(1)
        else:
            return


def require_noeviction() -> None:
    """In production a queue that may forget messages is refused.

    Errors: EvictingQueue, redis.RedisError.
    """
    policy = get_queue().connection.info("memory").get("maxmemory_policy", "noeviction")
    if settings.PRODUCTION and policy != "noeviction":
        raise EvictingQueue(
            f"Redis may drop messages (maxmemory-policy is {policy}): "
            "set maxmemory-policy to noeviction."
        )
