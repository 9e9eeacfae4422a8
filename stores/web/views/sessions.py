"""Visits that carried rows: up from the channels, and down to them."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from stores.models import DownloadSession
from stores.pipeline.download import sessions
from stores.web.lists.response import list_response
from stores.web.lists.sessions import (
    DownloadFilter,
    DownloadTable,
    UploadFilter,
    UploadTable,
    all_downloads,
    all_uploads,
)
from stores.web.permissions import require_permission
from stores.web.request import Request

may_control_downloads = require_permission(
    "stores.control_job", "You do not have permission to change download sessions."
)


@require_safe
def upload_list(request: Request) -> HttpResponseBase:
    filters = UploadFilter(request.GET, all_uploads())
    return list_response(request, filters, UploadTable, "sessions/uploads.html")


@require_safe
def download_list(request: Request) -> HttpResponseBase:
    filters = DownloadFilter(request.GET, all_downloads())
    return list_response(request, filters, DownloadTable, "sessions/downloads.html")


@require_safe
def download_detail(request: Request, session: UUID) -> HttpResponse:
    """One download: the package, the way it went, and what may be done with it."""
    found = get_object_or_404(all_downloads().select_related("run"), pk=session)
    itself = DownloadSession.objects.filter(pk=session)
    context = {
        "session": found,
        "can_cancel": itself.cancelable().exists(),
        "can_rerun": sessions.can_rerun(found),
        "can_delete": itself.deletable().exists(),
    }
    return render(request, "sessions/download.html", context)


def change_session(
    request: Request, session: UUID, change: Callable[[DownloadSession], Any], done: str
) -> DownloadSession:
    """Do what a button says, and tell whether it was done. Returns the session."""
    found = get_object_or_404(DownloadSession, pk=session)
    try:
        change(found)
    except sessions.SessionRefused as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, done)
    return found


@require_POST
@may_control_downloads
def cancel_download(request: Request, session: UUID) -> HttpResponseRedirect:
    done = "Session canceled. The next download sends what the channel lacks."
    return redirect(change_session(request, session, sessions.cancel, done))


@require_POST
@may_control_downloads
def rerun_download(request: Request, session: UUID) -> HttpResponseRedirect:
    done = "The next download sends its package again."
    return redirect(change_session(request, session, sessions.rerun, done))


@require_POST
@may_control_downloads
def delete_download(request: Request, session: UUID) -> HttpResponseRedirect:
    change_session(request, session, sessions.delete, "Session deleted.")
    return redirect("downloads")
