"""The queue: it carries the ids of steps that wait in PostgreSQL, and nothing else."""

import hashlib
import logging
import re
import secrets
from collections.abc import Sequence
from typing import Any

import django_rq
import redis
import rq
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from stores.failpoints import failpoint
from stores.messages.labels import counted
from stores.messages.message import Message
from stores.models import Incident
from stores.models.incident import IncidentKind

logger = logging.getLogger(__name__)

QUEUE = "default"
ENTRY_POINT = "stores.jobs.run.execute"
STEP_ID = re.compile("[0-9]{1,18}")
# What a message of RQ may ask for besides the call of a function.
EXTRAS = (b"success_callback_name", b"failure_callback_name", b"stopped_callback_name", b"webhooks")
# Retained only so that a look into the queue shows what failed there; the ledger has the rest.
FAILURE_TTL_S = 24 * 60 * 60
# Where a caller names no serializer, as some pages of django_rq do, RQ would unpickle what it
# reads: our messages are none, and one of somebody else would be carried out.
rq.serializers.PickleSerializer = rq.serializers.JSONSerializer  # type: ignore[assignment]
# Nobody waits longer for a queue that does not answer: the steps are saved anyway.
CONNECT_TIMEOUT_S, ANSWER_TIMEOUT_S = 1, 2


def get_queue() -> rq.Queue:
    """The queue, over a connection that gives up soon."""
    client = redis.Redis.from_url(
        settings.REDIS_URL,
        socket_connect_timeout=CONNECT_TIMEOUT_S,
        socket_timeout=ANSWER_TIMEOUT_S,
        retry=Retry(NoBackoff(), 0),
    )
    return django_rq.get_queue(QUEUE, commit_mode="auto", connection=client, job_class=StepMessage)


def enqueue(steps: Sequence[int]) -> bool:
    """Have workers take these steps; False when the queue is away, and maintenance does it later.

    A message too many finds its step claimed.
    """
    if not steps:
        return True
    failpoint("run:before_enqueue")
    messages = [
        rq.Queue.prepare_data(
            ENTRY_POINT,
            (str(step),),
            # Begins with the step's id, and is new each time.
            job_id=f"{step}-{secrets.token_hex(4)}",
            timeout=settings.RUN_LIMIT_S,
            result_ttl=0,
            failure_ttl=FAILURE_TTL_S,
        )
        for step in steps
    ]
    try:
        get_queue().enqueue_many(messages)
    except redis.RedisError:
        waiting = counted(len(steps), "step")
        logger.warning("the queue is away; %s to enqueue when it is back", waiting)
        return False
    return True


def enqueued_steps() -> list[int] | None:
    """The steps of which a message lies in the queue; None when the queue does not answer."""
    try:
        ids = get_queue().get_job_ids()
    except redis.RedisError:
        return None
    return [int(step[0]) for step in map(STEP_ID.match, ids) if step]


def count_workers() -> int | None:
    """How many workers listen; None when the queue does not answer."""
    try:
        return rq.Worker.count(queue=get_queue())
    except redis.RedisError:
        return None


class StepMessage(rq.job.Job):
    """A message may ask for one thing: to do a step. All else is refused before any import."""

    has_extras = False

    def restore(self, raw_data: Any) -> None:
        """Take the message without what else it may ask to be imported or called."""
        extras = [raw_data.pop(name, None) for name in EXTRAS]
        self.has_extras = any(extras)
        super().restore(raw_data)

    def perform(self) -> object:
        if not self.is_valid():
            self.report()
            raise PermissionError("a message asked for something other than a step")
        return super().perform()

    def is_valid(self) -> bool:
        """Whether it names the one entry point and the id of a step, and nothing else."""
        try:
            [step_id] = self.args
            is_plain = not self.kwargs and not self.instance and not self.has_extras
            return is_plain and self.func_name == ENTRY_POINT and bool(STEP_ID.fullmatch(step_id))
        except (rq.exceptions.DeserializationError, AttributeError, TypeError, ValueError):
            return False

    def report(self) -> None:
        """Let people see that somebody else writes into the queue, without what is written."""
        digest = hashlib.sha256(self.data or b"").hexdigest()
        Incident.objects.report(
            IncidentKind.MESSAGE_REFUSED,
            Message("message_refused"),
            subject=digest[:32],
            detail={"sha256": digest},
        )
