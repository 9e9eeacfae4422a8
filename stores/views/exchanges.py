"""Visits that carried rows: up from the channels, and down to them."""

from django.http.response import HttpResponseBase
from django.views.decorators.http import require_safe

from stores.filters import DownloadFilter, UploadFilter
from stores.models import DownloadSession, UploadSession
from stores.tables import DownloadTable, UploadTable
from stores.views import Request
from stores.views.lists import respond


@require_safe
def upload_list(request: Request) -> HttpResponseBase:
    """Every upload, newest first."""
    sessions = UploadSession.objects.select_related("database__channel")
    return respond(
        request, UploadFilter(request.GET, sessions), UploadTable, "sessions/uploads.html"
    )


@require_safe
def download_list(request: Request) -> HttpResponseBase:
    """Every download, newest first."""
    sessions = DownloadSession.objects.select_related("database__channel")
    return respond(
        request, DownloadFilter(request.GET, sessions), DownloadTable, "sessions/downloads.html"
    )
