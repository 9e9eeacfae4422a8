"""The pages of upload and download sessions, and what people do with a download session."""

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

may_control_downloads = require_permission("stores.control_job", "change download sessions")

upload_list = list_view(UploadFilter, UploadTable, all_uploads)

download_list = list_view(DownloadFilter, DownloadTable, all_downloads)


@require_safe
def download_detail(request: Request, session: UUID) -> HttpResponse:
    """One download session with its package, its progress, and the changes that are possible."""
    downloads = all_downloads().select_related("run", "changed_by")
    download = get_object_or_404(downloads, pk=session)
    this_one = DownloadSession.objects.filter(pk=session)
    context = {
        "session": download,
        "can_cancel": this_one.cancelable().exists(),
        "can_rerun": sessions.can_rerun(download),
        "can_delete": this_one.deletable().exists(),
    }
    return render(request, "sessions/download.html", context)


def change_session(
    request: Request, pk: UUID, change: Callable[[DownloadSession], Any], done: str, effect: str
) -> DownloadSession:
    """Change a session, and tell the user what was done and what the next download does then."""
    session = get_object_or_404(all_downloads(), pk=pk)
    try:
        change(session)
    except sessions.SessionRefused as refusal:
        messages.error(request, str(refusal))
    else:
        next_download = sessions.next_download(session.database, effect)
        messages.success(request, f"{done} {next_download}".strip())
    return session


@require_POST
@may_control_downloads
def cancel_download(request: Request, session: UUID) -> HttpResponseRedirect:
    cancel = partial(sessions.cancel, by=request.user)
    effect = "sends what the channel lacks"
    return redirect(change_session(request, session, cancel, "Session canceled.", effect))


@require_POST
@may_control_downloads
def rerun_download(request: Request, session: UUID) -> HttpResponseRedirect:
    rerun = partial(sessions.rerun, by=request.user)
    effect = "sends its package again"
    return redirect(change_session(request, session, rerun, "", effect))


@require_POST
@may_control_downloads
def delete_download(request: Request, session: UUID) -> HttpResponseRedirect:
    effect = "sends what the channel lacks"
    change_session(request, session, sessions.delete, "Session deleted.", effect)
    return redirect("downloads")
