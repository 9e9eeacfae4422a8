"""Workers: do the steps that the queue names, and look after all of them."""

import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess
from typing import Any

import redis
import rq
import rq.worker_pool
from django.conf import settings
from django.db import OperationalError, connection
from rq.serializers import JSONSerializer

from stores.jobs.queue import QUEUE, StepMessage, get_queue
from stores.jobs.stalled import is_hung, run_maintenance

logger = logging.getLogger(__name__)
PR_SET_PDEATHSIG = 1
# HQ's server notices a moment later that a process has died, and frees its locks.
DEATH_NOTICED_S = 0.2
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class EvictingQueue(Exception):
    """Redis may drop messages when it is full: set its maxmemory-policy to noeviction."""


class Worker(rq.Worker):
    """Does steps one at a time, each in a process of its own that dies with this one.

    Every few seconds, also while one is done, it looks after all runs.
    """

    max_connection_wait_time = 5

    def check_for_suspension(self, burst: bool) -> None:
        """Listen to signals from here on, the beginning of RQ's loop: those of a pool are held."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        super().check_for_suspension(burst)

    def heartbeat(self, *args: Any, **kwargs: Any) -> None:
        """Stop also where the exception that RQ raises for it was lost, such as in a destructor."""
        if self._shutdown_requested_date and self.get_state() != rq.worker.WorkerStatus.BUSY:
            raise rq.exceptions.StopRequested
        super().heartbeat(*args, **kwargs)

    def setup_work_horse_signals(self) -> None:
        super().setup_work_horse_signals()  # type: ignore[no-untyped-call]
        die_with_parent()

    def run_maintenance_tasks(self) -> None:
        super().run_maintenance_tasks()  # type: ignore[no-untyped-call]
        self.maintain()

    def maintain_heartbeats(self, job: rq.job.Job, execution: Any) -> None:
        with suppress(redis.RedisError):
            super().maintain_heartbeats(job, execution)
        if self.maintain(self.horse_pid):
            # An alarm inside it would not end a statement that hangs.
            self.kill_horse()

    def handle_work_horse_killed(self, job: rq.job.Job, *how: Any) -> None:
        """Give the step of a work horse that died to others at once."""
        time.sleep(DEATH_NOTICED_S)
        self.maintain()

    def maintain(self, horse: int = 0) -> bool:
        """Maintain all runs; says whether the work horse, if there is one, hangs."""
        try:
            hangs = bool(horse) and is_hung(horse)
            run_maintenance()
            return hangs
        except OperationalError:
            logger.warning("HQ's database does not answer; trying again")
            return False
        finally:
            # Each step's process opens its own: in an inherited one the transaction of a process
            # that was killed lives on.
            connection.close()


class WorkerPool(rq.worker_pool.WorkerPool):
    """RQ's own pool: so many workers, each in a process that dies with this one."""

    def start_workers(self, *args: Any, **kwargs: Any) -> None:
        """Start the processes; RQ would not hear a signal until all of them are there."""
        self._install_signal_handlers()  # type: ignore[no-untyped-call]
        super().start_workers(*args, **kwargs)

    def start_worker(self, *args: Any, **kwargs: Any) -> None:
        """Start a process; a signal waits until the process listens."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            if self.status != self.Status.STOPPED:
                super().start_worker(*args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)

    def get_worker_process(self, name: str, burst: bool, *_: Any, **__: Any) -> BaseProcess:
        return rq.worker_pool.ForkProcess(target=run_pooled, args=(burst,))


def run_workers(*, burst: bool, processes: int) -> None:
    """Do steps as they are enqueued, in so many processes; with `burst` only while some wait.

    Errors: EvictingQueue in production.
    """
    if processes == 1:
        run_worker(burst=burst)
        return
    wait_for_servers()
    # A process that is forked from here opens its own.
    connection.close()
    pool = WorkerPool([QUEUE], get_queue().connection, processes)
    with signal_handlers_kept():
        pool.start(burst=burst, logging_level="WARNING")


def run_pooled(burst: bool) -> None:
    """What a process of the pool does, which begins with signals held."""
    die_with_parent()
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        run_worker(burst=burst)


def run_worker(*, burst: bool) -> None:
    """Do steps as they are enqueued; with `burst` only while some wait.

    Survives a queue that goes away. Errors: EvictingQueue in production.
    """
    while True:
        wait_for_servers(is_signal_held)
        if is_signal_held():
            return
        connection.close()
        queue = get_queue()
        worker = Worker(
            [queue],
            connection=queue.connection,
            serializer=JSONSerializer,
            job_class=StepMessage,
            worker_ttl=settings.DISPATCH_S + 15,
            maintenance_interval=settings.DISPATCH_S,
            job_monitoring_interval=settings.DISPATCH_S,
        )
        with signal_handlers_kept(), suppress(redis.RedisError):
            worker.work(burst=burst, logging_level="WARNING")
        if burst or worker._shutdown_requested_date:
            return
        logger.warning("the queue went away; the worker begins anew")


def is_signal_held() -> bool:
    return bool(signal.sigpending() & set(SIGNALS))


def default_processes() -> int:
    """Twice the processors: a step mostly waits, for its channel or for HQ; each takes memory."""
    return min(8, 2 * (os.cpu_count() or 1))


def die_with_parent() -> None:
    """Have this process killed when its parent ends, however that ends; on Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@contextmanager
def signal_handlers_kept() -> Iterator[None]:
    """Put the signal handlers back that a block replaces.

    A worker's would stop a worker that has ended, while the next one waits for the queue.
    """
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
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
