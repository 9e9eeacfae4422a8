"""The queue: it carries the id of a run that waits in PostgreSQL, and nothing else."""

import ctypes
import logging
import signal
import sys
import time
from typing import Any
from uuid import UUID

import django_rq
import redis
import rq
from django.conf import settings
from django.db import OperationalError, connection
from django.db.models.functions import Now
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer

from stores.models import JobRun

logger = logging.getLogger(__name__)

QUEUE = "default"
ENTRY = "stores.jobs.execute"
PR_SET_PDEATHSIG = 1
# Retained only so that a look into the queue shows what failed there; the ledger has the rest.
FAILURES_KEPT_S = 24 * 60 * 60


def ring(run_id: UUID) -> bool:
    """Tell the workers that a run waits. False when the queue is away; heal() rings again."""
    try:
        queue = django_rq.get_queue(QUEUE, commit_mode="auto")
        queue.enqueue(
            ENTRY,
            str(run_id),
            job_id=str(run_id),
            job_timeout=settings.RUN_LIMIT_S,
            result_ttl=0,
            failure_ttl=FAILURES_KEPT_S,
        )
    except redis.RedisError:
        logger.warning("run=%s the queue is away; the run starts when it is back", run_id)
        return False
    JobRun.objects.filter(pk=run_id).update(rung_at=Now())
    return True


class Worker(rq.Worker):
    """Executes runs one at a time, each in a process of its own that dies with this one."""

    def setup_work_horse_signals(self) -> None:
        super().setup_work_horse_signals()  # type: ignore[no-untyped-call]
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class OnlyRuns(rq.job.Job):
    """A message may ask for one thing: to execute a run."""

    def restore(self, raw_data: Any) -> None:
        """Take the message without what else it may ask to be imported or called."""
        super().restore(raw_data)
        self._success_callback_name = None
        self._failure_callback_name = None
        self._stopped_callback_name = None
        self.webhooks = []

    def perform(self) -> object:
        if self.func_name != ENTRY:
            raise PermissionError("a message asked for something other than a run")
        return super().perform()


def work(*, burst: bool) -> None:
    """Execute runs as they are rung for; with `burst` only those that wait already."""
    wait_for_servers()
    # Each run's process opens its own: in an inherited one a killed run's transaction lives on.
    connection.close()
    queue = django_rq.get_queue(QUEUE)
    worker = Worker(
        [queue],
        connection=queue.connection,
        serializer=JSONSerializer,
        job_class=OnlyRuns,
    )
    worker.work(burst=burst, logging_level="WARNING")


def clean_up() -> None:
    """Let the queue forget jobs whose worker died; the ledger takes care of their runs."""
    queue = django_rq.get_queue(QUEUE)
    StartedJobRegistry(queue=queue, serializer=JSONSerializer).cleanup()


def wait_for_servers() -> None:
    """Return once PostgreSQL and the queue answer."""
    while True:
        try:
            connection.ensure_connection()
            django_rq.get_connection(QUEUE).ping()
        except (OperationalError, redis.RedisError):
            time.sleep(1)
        else:
            return
