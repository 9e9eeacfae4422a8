"""RQ's own pages of the queue, its workers and failed messages.

They show ids of steps and nothing else. What somebody deletes there is enqueued again: PostgreSQL
knows what waits.
"""

import re
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from hashlib import sha256
from pathlib import Path
from typing import Any

import django_rq
import redis
import rq
from csp.constants import SELF
from csp.decorators import csp_update
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.urls import URLPattern, path
from django_rq import utils, views
from django_rq.stats_views import stats_json
from django_rq.urls import get_admin_urlpatterns
from rq.executions import Execution
from rq.registry import StartedJobRegistry

View = Callable[..., HttpResponseBase]
TEMPLATES = Path(django_rq.__file__).parent / "templates" / "django_rq"
WORKER_PREFIX = rq.Worker.redis_worker_namespace_prefix
# What is read of a message that has just ended: nothing, or what its worker still writes of it.
GONE = (LookupError, ValueError, rq.exceptions.NoSuchJobError, rq.exceptions.InvalidJobOperation)
UNREADABLE = rq.exceptions.DeserializationError
INLINE_STYLE = re.compile("<style>(.*?)</style>", re.DOTALL)


def queue_pages(guard: Callable[[View], View]) -> list[URLPattern]:
    """The pages, each behind the guard that says who may open it."""

    allow_styles = csp_update({"style-src": [SELF, *inline_styles()]})

    def guarded(view: View) -> View:
        return allow_styles(guard(without_errors(view)))

    patterns: list[URLPattern] = get_admin_urlpatterns(view_wrapper=guarded)
    return [path("stats.json", guarded(stats_json), name="home_json"), *patterns]


class ShownWorker(rq.Worker):
    """A worker as a page shows it: without its message once that has ended, or cannot be read."""

    @classmethod
    def find_by_key(cls, worker_key: str, *args: Any, **kwargs: Any) -> rq.worker.BaseWorker | None:
        """The worker with this key, or with this name, by which RQ's pages link to it."""
        name = worker_key.removeprefix(WORKER_PREFIX)
        return super().find_by_key(WORKER_PREFIX + name, *args, **kwargs)

    def get_current_job(self) -> rq.job.Job | None:
        try:
            message = super().get_current_job()
            return message if message and message.func_name else None
        except (*GONE, UNREADABLE):
            return None


class ShownMessages(StartedJobRegistry):
    """The messages that workers have, as a page shows them."""

    def cleanup(self, *args: object, **kwargs: object) -> None:
        """Leave it to the workers."""

    def remove(self, *names: object) -> None:
        """Leave one that has ended to its worker; RQ cannot remove it here, but its page tries."""


def read_messages(queue: rq.Queue, ids: list[str], registry: object = None) -> list[rq.job.Job]:
    """These messages, without those that ended meanwhile or cannot be read."""
    messages = []
    for message_id in ids:
        with suppress(*GONE, UNREADABLE):
            messages.append(rq.job.Job.fetch(message_id, queue.connection, queue.serializer))
    return messages


def read_executions(queue: rq.Queue, names: list[tuple[str, str]]) -> list[Execution]:
    """What workers do with these messages, without those that ended while they were read."""
    executions = []
    for message_id, execution_id in names:
        with suppress(*GONE, UNREADABLE):
            execution = Execution.fetch(execution_id, message_id, queue.connection)
            if execution.job:
                executions.append(execution)
    return executions


# What RQ's pages read with by themselves fails when a message ends meanwhile.
vars(views).update(
    Worker=ShownWorker,
    StartedJobRegistry=ShownMessages,
    get_jobs=read_messages,
    get_executions=read_executions,
)
# Cleaning up is for workers: RQ would do it for a page too, and call what a message names for its
# failure.
vars(utils).update(StartedJobRegistry=ShownMessages, clean_registries=lambda _queue: None)


def inline_styles() -> list[str]:
    """The style sheets within RQ's templates, as a Content-Security-Policy names them.

    Their scripts stay refused: Django's own, in a file, does what they want.
    """
    pages = [page.read_text() for page in TEMPLATES.glob("*.html")]
    styles = {text for page in pages for text in INLINE_STYLE.findall(page)}
    digests = [b64encode(sha256(text.encode()).digest()).decode() for text in styles]
    return sorted(f"'sha256-{digest}'" for digest in digests)


def without_errors(view: View) -> View:
    """Answer what the pages take for granted: a number that is there, a queue that responds."""

    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        # RQ asserts that the worker of a page is there.
        except (*GONE, UNREADABLE, AssertionError) as error:
            raise Http404 from error
        except redis.RedisError:
            return HttpResponse("The queue is not responding.\n", "text/plain", status=503)

    return answer
