"""The pages of channels, with what HQ knew of them at the last visit."""

from django.contrib import messages
from django.db.models import Max, Sum
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from stores.messages.labels import label
from stores.models import Channel, ChannelDatabase, Customer, DownloadRange
from stores.models.channel import Direction
from stores.pipeline.archive import (
    ArchiveRefused,
    StillWaiting,
    archive_channel,
    restore_channel,
)
from stores.pipeline.configuration.distributed import setting_states
from stores.pipeline.download.outbound import count_rows_of
from stores.pipeline.download.sessions import next_download, start_over
from stores.pipeline.pauses import PauseRefused, pause, resume
from stores.pipeline.register import RegistrationRefused, one_test_at_a_time
from stores.web.counts import capped_count
from stores.web.forms.reason import posted_reason
from stores.web.lists.async_customers import filter_async_customers
from stores.web.lists.channels import (
    ChannelFilter,
    ChannelTable,
    databases_with_counts,
    with_statuses,
)
from stores.web.lists.quarantine import filter_quarantine
from stores.web.lists.response import list_view
from stores.web.permissions import require_permission
from stores.web.request import Request, posted_id
from stores.web.views.channel_settings import setting_rows, settings_title

may_send_everything = require_permission("stores.control_job", "send everything again")

may_pause = require_permission("stores.change_channeldatabase", "pause uploads and downloads")

may_archive = require_permission("stores.change_channel", "archive channels")

channel_list = list_view(ChannelFilter, ChannelTable, databases_with_counts, "channels/list.html")


@require_safe
def channel_detail(request: Request, code: str) -> HttpResponse:
    channels = Channel.objects.select_related(
        "company", "default_customer", "profile", "archived_by"
    )
    channel = get_object_or_404(channels, code=code)
    databases = with_statuses(databases_with_counts().filter(channel=channel))
    settings = setting_states(databases)
    context = {
        "channel": channel,
        "databases": databases,
        "is_paused": any(
            database.uploads_paused or database.downloads_paused for database in databases
        ),
        "operation_count": capped_count(filter_async_customers(channel=code)),
        "unfinished_count": capped_count(filter_async_customers(channel=code, state="open")),
        "quarantined_count": capped_count(filter_quarantine(channel=code, status="open")),
        "customer_count": capped_count(Customer.objects.filter(guids__channel=channel)),
        "folded": DownloadRange.objects.filter(database__channel=channel).aggregate(
            sessions=Sum("sessions"), until=Max("last_applied_at")
        ),
        "settings": [(settings_title(row), setting_rows(settings[row.pk])) for row in databases],
    }
    return render(request, "channels/detail.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@may_send_everything
def send_everything(request: Request, code: str) -> HttpResponse:
    """The rows of a full download; a POST makes the next download of a database a full one."""
    channel = get_object_or_404(Channel.objects.select_related("company"), code=code)
    databases = channel.databases.select_related("channel")
    if request.method == "POST":
        database = posted_database(request, channel)
        start_over(database, by=request.user)
        messages.success(
            request, next_download(database, f"sends {database.label} everything again")
        )
        return redirect(channel)
    rows = count_rows_of(channel.company_id)
    context = {
        "channel": channel,
        "databases": databases,
        "rows": [(label(table), count) for table, count in rows.items()],
    }
    return render(request, "channels/full.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@may_pause
def pause_channel(request: Request, code: str) -> HttpResponse:
    """What is paused of a channel's databases; a POST pauses or resumes a direction of one."""
    channel = get_object_or_404(Channel, code=code)
    if request.method == "POST":
        database, direction = posted_database(request, channel), posted_direction(request)
        if request.POST.get("action") == "resume":
            resume_direction(request, database, direction)
        # Without a reason, posted_reason() has told the user so.
        elif reason := posted_reason(request):
            pause(database, direction, reason, by=request.user)
            messages.success(request, f"{direction.label} {database.label} are paused.")
        return redirect("pause-channel", channel.code)
    databases = channel.databases.select_related(
        "channel", "uploads_paused_by", "downloads_paused_by"
    )
    context = {"channel": channel, "databases": databases.order_by("name")}
    return render(request, "channels/pause.html", context)


def posted_direction(request: Request) -> Direction:
    """Errors: Http404 if a form names none."""
    try:
        return Direction(request.POST.get("direction", ""))
    except ValueError:
        raise Http404 from None


def resume_direction(request: Request, database: ChannelDatabase, direction: Direction) -> None:
    try:
        resume(database, direction)
    except PauseRefused as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(
            request,
            f"{direction.label} {database.label} are resumed; the next run makes up for it.",
        )


@require_http_methods(["GET", "HEAD", "POST"])
@may_archive
def archive(request: Request, code: str) -> HttpResponse:
    """What archiving means, and what of the channel still waits; a POST archives or restores it.

    Its databases are opened when somebody archives it, to see what they have for headquarters.
    """
    channel = get_object_or_404(Channel.objects.select_related("archived_by"), code=code)
    obstacles: list[str] = []
    if request.method == "POST":
        try:
            if request.POST.get("action") == "restore":
                restore_channel(channel)
                messages.success(request, f"Channel {channel.code} is visited again.")
                return redirect(channel)
            if reason := posted_reason(request):
                whatever_waits = "whatever_waits" in request.POST
                with one_test_at_a_time():
                    archive_channel(channel, reason, by=request.user, whatever_waits=whatever_waits)
                messages.success(request, f"Channel {channel.code} is archived.")
                return redirect(channel)
        except StillWaiting as refusal:
            obstacles = refusal.obstacles
        except (ArchiveRefused, RegistrationRefused) as refusal:
            messages.error(request, str(refusal))
    context = {
        "channel": channel,
        "obstacles": obstacles,
        "reason": request.POST.get("reason", "") if obstacles else "",
    }
    return render(request, "channels/archive.html", context)


def posted_database(request: Request, channel: Channel) -> ChannelDatabase:
    """The database of the channel that a form names. Errors: Http404."""
    databases = channel.databases.select_related("channel")
    return get_object_or_404(databases, pk=posted_id(request, "database"))
