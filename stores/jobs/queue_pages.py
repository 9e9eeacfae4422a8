"""RQ's own pages of the queue, its workers and failed messages.

They show ids of steps and nothing else. What somebody deletes there is enqueued again: PostgreSQL
knows what waits.
"""

import re
from base64 import b64encode
from collections.abc import Callable
from functools import wraps
from hashlib import sha256
from pathlib import Path
from typing import Any

import django_rq
import redis
import rq
from csp.constants import SELF
from csp.decorators import csp_update
from django.contrib import admin
from django.contrib.admin.views.decorators import staff_member_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.urls import URLPattern, path
from django.views.decorators.cache import never_cache
from django_rq.queues import get_queue_by_index
from django_rq.stats_views import stats_json
from django_rq.urls import get_admin_urlpatterns
from django_rq.utils import DEFAULT_ITEMS_PER_PAGE, paginate
from rq.executions import Execution
from rq.registry import StartedJobRegistry

from stores.jobs.queue import StepMessage

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
    return [
        path("stats.json", guarded(stats_json), name="home_json"),
        path("queues/<int:queue_index>/started/", guarded(started_messages), name="started_jobs"),
        path("workers/<int:queue_index>/<str:key>/", guarded(worker), name="worker_details"),
        *patterns,
    ]


@never_cache
@staff_member_required
def started_messages(request: HttpRequest, queue_index: int) -> HttpResponse:
    """What workers do now. RQ's own view fails when a message ends while it reads the list."""
    queue = get_queue_by_index(queue_index)
    registry = StartedJobRegistry(queue=queue, job_class=StepMessage)
    total = len(registry)
    page, page_range, offset = paginate(request, total)
    ids = registry.get_job_and_execution_ids(offset, offset + DEFAULT_ITEMS_PER_PAGE - 1)
    found = [find_execution(queue, *names) for names in ids]
    context = {
        **admin.site.each_context(request),
        "queue": queue,
        "queue_index": queue_index,
        "executions": [execution for execution in found if execution],
        "num_jobs": total,
        "page": page,
        "page_range": page_range,
        "job_status": "Started",
    }
    return render(request, "django_rq/started_job_registry.html", context)


def find_execution(queue: rq.Queue, message_id: str, execution_id: str) -> Execution | None:
    """What a worker does with a message, the message within it; None once it has ended."""
    try:
        execution = Execution.fetch(execution_id, message_id, queue.connection)
        return execution if execution.job else None
    except GONE:
        return None


@never_cache
@staff_member_required
def worker(request: HttpRequest, queue_index: int, key: str) -> HttpResponse:
    """One worker. RQ's own view fails when its message ends, or itself, and links to its name."""
    queue = get_queue_by_index(queue_index)
    found = rq.Worker.find_by_key(
        WORKER_PREFIX + key.removeprefix(WORKER_PREFIX),
        connection=queue.connection,
        job_class=StepMessage,
        serializer=queue.serializer,
    )
    if found is None:
        raise Http404(f"There is no worker {key}.")
    context = {
        **admin.site.each_context(request),
        "queue": queue,
        "queue_index": queue_index,
        "worker": found,
        "queue_names": ", ".join(found.queue_names()),
        "job": find_current_message(found),
        "total_working_time": found.total_working_time,
    }
    return render(request, "django_rq/worker_details.html", context)


def find_current_message(worker: rq.worker.BaseWorker) -> rq.job.Job | None:
    """What it does now; None when that has just ended, or cannot be read."""
    try:
        message = worker.get_current_job()
        return message if message and message.func_name else None
    except (*GONE, UNREADABLE):
        return None


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
        except (*GONE, UNREADABLE) as error:
            raise Http404 from error
        except redis.RedisError:
            return HttpResponse("The queue is not responding.\n", "text/plain", status=503)

    return answer
