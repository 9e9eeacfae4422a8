"""Visits that carried rows: up from the channels, and down to them."""

from django.http.response import HttpResponseBase
from django.views.decorators.http import require_safe

from stores.web.lists.response import list_response
from stores.web.lists.sessions import (
    DownloadFilter,
    DownloadTable,
    UploadFilter,
    UploadTable,
    all_downloads,
    all_uploads,
)
from stores.web.request import Request


@require_safe
def upload_list(request: Request) -> HttpResponseBase:
    filters = UploadFilter(request.GET, all_uploads())
    return list_response(request, filters, UploadTable, "sessions/uploads.html")


@require_safe
def download_list(request: Request) -> HttpResponseBase:
    filters = DownloadFilter(request.GET, all_downloads())
    return list_response(request, filters, DownloadTable, "sessions/downloads.html")
