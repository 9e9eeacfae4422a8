"""Visits that carried rows: up from the channels, and down to them."""

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from stores.models import DownloadSession
from stores.pipeline.download import sessions
from stores.web.lists.response import list_view
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

upload_list = list_view(UploadFilter, UploadTable, all_uploads)

download_list = list_view(DownloadFilter, DownloadTable, all_downloads)


@require_safe
def download_detail(request: Request, session: UUID) -> HttpResponse:
    """One download: the package, the way it went, and what may be done with it."""
    downloads = all_downloads().select_related("run", "changed_by")
    found = get_object_or_404(downloads, pk=session)
    itself = DownloadSession.objects.filter(pk=session)
    context = {
        "session": found,
        "can_cancel": itself.cancelable().exists(),
        "can_rerun": sessions.can_rerun(found),
        "can_delete": itself.deletable().exists(),
    }
    return render(request, "sessions/download.html", context)


def change_session(
    request: Request, session: UUID, change: Callable[[DownloadSession], Any], done: str, does: str
) -> DownloadSession:
    """Do what a button says, and tell what the next download does then. Returns the session."""
    found = get_object_or_404(
        DownloadSession.objects.select_related("database__channel"), pk=session
    )
    try:
        change(found)
    except sessions.SessionRefused as refusal:
        messages.error(request, str(refusal))
    else:
        sentences = f"{done} {sessions.next_download(found.database, does)}"
        messages.success(request, sentences.strip())
    return found


@require_POST
@may_control_downloads
def cancel_download(request: Request, session: UUID) -> HttpResponseRedirect:
    cancel = partial(sessions.cancel, by=request.user)
    does = "sends what the channel lacks"
    return redirect(change_session(request, session, cancel, "Session canceled.", does))


@require_POST
@may_control_downloads
def rerun_download(request: Request, session: UUID) -> HttpResponseRedirect:
    rerun = partial(sessions.rerun, by=request.user)
    does = "sends its package again"
    return redirect(change_session(request, session, rerun, "", does))


@require_POST
@may_control_downloads
def delete_download(request: Request, session: UUID) -> HttpResponseRedirect:
    does = "sends what the channel lacks"
    change_session(request, session, sessions.delete, "Session deleted.", does)
    return redirect("downloads")
