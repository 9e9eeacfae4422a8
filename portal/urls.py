"""The project's URLs: the admin, the pages of the queue, the real-time service, and the portal."""

from typing import Any

from django.contrib import admin
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.contrib.contenttypes.models import ContentType
from django.contrib.contenttypes.views import shortcut
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import include, path, reverse

from stores.jobs.queue_pages import queue_pages
from stores.web.permissions import require_permission


def view_on_site(request: HttpRequest, kind: int, key: Any) -> HttpResponse:
    """Redirect from the admin page of a row to its own page."""
    # django_rq's model has no table, which Django's own view would query.
    get_object_or_404(ContentType, pk=kind, app_label="stores")
    return shortcut(request, kind, key)


def sign_in_to_admin(request: HttpRequest) -> HttpResponseRedirect:
    """Sign in to the settings on the portal's page; who may not open them gets its 403 page."""
    if request.user.is_authenticated and not admin.site.has_permission(request):
        raise PermissionDenied("You do not have permission to open the settings.")
    return redirect_to_login(request.GET.get("next") or reverse("admin:index"))


may_see_queue = require_permission("stores.view_jobrun", "see the queue and its workers")
admin.autodiscover()
handler500 = "stores.web.views.errors.server_error"

urlpatterns = [
    path("admin/r/<int:kind>/<path:key>/", admin.site.admin_view(view_on_site)),
    path("admin/queue/", include((queue_pages(may_see_queue), "django_rq"))),
    path("admin/login/", login_not_required(sign_in_to_admin)),
    path("admin/", admin.site.urls),
    path("rts/", include("stores.rts.urls")),
    path("", include("stores.urls")),
]
