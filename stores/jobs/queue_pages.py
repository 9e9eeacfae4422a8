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
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.urls import URLPattern, path
from django_rq.stats_views import stats_json
from django_rq.urls import get_admin_urlpatterns

View = Callable[..., HttpResponseBase]
TEMPLATES = Path(django_rq.__file__).parent / "templates" / "django_rq"
INLINE_STYLE = re.compile("<style>(.*?)</style>", re.DOTALL)


def queue_pages(guard: Callable[[View], View]) -> list[URLPattern]:
    """The pages, each behind the guard that says who may open it."""

    allow_styles = csp_update({"style-src": [SELF, *inline_styles()]})

    def guarded(view: View) -> View:
        return allow_styles(guard(without_errors(view)))

    patterns: list[URLPattern] = get_admin_urlpatterns(view_wrapper=guarded)
    return [path("stats.json", guarded(stats_json), name="home_json"), *patterns]


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
        except (LookupError, ValueError, rq.exceptions.NoSuchJobError) as error:
            raise Http404 from error
        except redis.RedisError:
            return HttpResponse("The queue is not responding.\n", "text/plain", status=503)

    return answer
