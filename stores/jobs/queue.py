"""The queue: it carries the id of a run that waits in PostgreSQL, and nothing else."""

import hashlib
import logging
from contextlib import suppress
from typing import Any
from uuid import UUID

import django_rq
import redis
import rq
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from stores.failpoints import failpoint
from stores.models import Incident, JobRun
from stores.models.incident import IncidentKind
from stores.models.run import ClockTime

logger = logging.getLogger(__name__)

QUEUE = "default"
ENTRY_POINT = "stores.jobs.run.execute"
# Retained only so that a look into the queue shows what failed there; the ledger has the rest.
FAILURE_TTL_S = 24 * 60 * 60
# Nobody waits longer for a queue that does not answer: the run is saved anyway.
CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S = 1, 2


def get_queue() -> rq.Queue:
    """The queue, over a connection that gives up soon."""
    client = redis.Redis.from_url(
        settings.REDIS_URL,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=ANSWER_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
    return django_rq.get_queue(QUEUE, commit_mode="auto", connection=client, job_class=RunMessage)


def enqueue(run_id: UUID, *, workers: int = 1) -> bool:
    """Tell workers that a run waits; False when the queue is away; maintenance enqueues it again.

    Up to `workers` workers are called, as many as there are. A message too many finds the run ended
    or nothing to help with.
    """
    failpoint("run:before_enqueue")
    try:
        queue = get_queue()
        for number in range(max(1, min(workers, rq.Worker.count(queue=queue)))):
            queue.enqueue(
                ENTRY_POINT,
                str(run_id),
                job_id=f"{run_id}-{number}" if number else str(run_id),
                job_timeout=settings.RUN_LIMIT_S,
                result_ttl=0,
                failure_ttl=FAILURE_TTL_S,
            )
    except redis.RedisError:
        logger.warning("run=%s the queue is away; the run starts when it is back", run_id)
        return False
    JobRun.objects.filter(pk=run_id).update(rung_at=ClockTime())
    return True


def requeue(run_id: UUID) -> bool:
    """Ring unless the message still lies in the queue. Says whether it did."""
    with suppress(redis.RedisError):
        if get_queue().get_job_position(str(run_id)) is not None:
            return False
    return enqueue(run_id)


def count_workers() -> int | None:
    """How many workers listen; None when the queue does not answer."""
    try:
        return rq.Worker.count(queue=get_queue())
    except redis.RedisError:
        return None


class RunMessage(rq.job.Job):
    """A message may ask for one thing: to execute a run. All else is refused before any import."""

    has_extras = False

    def restore(self, raw_data: Any) -> None:
        """Take the message without what else it may ask to be imported or called."""
        super().restore(raw_data)
        callbacks = (
            self._success_callback_name,
            self._failure_callback_name,
            self._stopped_callback_name,
        )
        self.has_extras = any(callbacks) or bool(self.webhooks)
        self._success_callback_name = None
        self._failure_callback_name = None
        self._stopped_callback_name = None
        self.webhooks = []

    def perform(self) -> object:
        if not self.is_valid():
            self.report()
            raise PermissionError("a message asked for something other than a run")
        return super().perform()

    def is_valid(self) -> bool:
        """Whether it names the one entry point and the id of a run, and nothing else."""
        try:
            [run_id] = self.args
            UUID(run_id)
            is_plain = not self.kwargs and not self.instance
            return is_plain and self.func_name == ENTRY_POINT and not self.has_extras
        except (rq.exceptions.DeserializationError, AttributeError, TypeError, ValueError):
            return False

    def report(self) -> None:
        """Let people see that somebody else writes into the queue, without what is written."""
        digest = hashlib.sha256(self.data or b"").hexdigest()
        Incident.objects.report(
            IncidentKind.MESSAGE_REFUSED,
            "The queue held a message that is not a run; nothing of it was carried out. Find out"
            " who else can write to Redis.",
            subject=digest[:32],
            detail={"sha256": digest},
        )
