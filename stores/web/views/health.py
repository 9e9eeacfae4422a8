"""The liveness probe."""

from django.contrib.auth.decorators import login_not_required
from django.http import HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from stores.web.request import Request


@login_not_required
@never_cache
@require_safe
def healthz(request: Request) -> HttpResponse:
    """Answer without checking anything: a restart of the web server mends nothing else."""
    return HttpResponse("ok\n", content_type="text/plain")
