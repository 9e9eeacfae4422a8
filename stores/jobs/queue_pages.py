"""RQ's own pages of the queue, its workers and failed messages.

They show ids of steps and nothing else. What somebody deletes there is enqueued again: PostgreSQL
knows what waits.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

import redis
import rq
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django_rq.stats_views import stats_json
from django_rq.urls import get_admin_urlpatterns

View = Callable[..., HttpResponse]


def queue_pages(guard: Callable[[View], View]) -> list[URLPattern]:
    """The pages, each behind the guard that says who may open it."""

    def guarded(view: View) -> View:
        return guard(without_errors(view))

    patterns: list[URLPattern] = get_admin_urlpatterns(view_wrapper=guarded)
    return [path("stats.json", guarded(stats_json), name="home_json"), *patterns]


def without_errors(view: View) -> View:
    """Answer what the pages take for granted: a number that is there, a queue that responds."""

    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return view(request, *args, **kwargs)
        except (LookupError, ValueError, rq.exceptions.NoSuchJobError) as error:
            raise Http404 from error
        except redis.RedisError:
            return HttpResponse("The queue is not responding.\n", "text/plain", status=503)

    return answer
