"""The pages of channels, with what HQ knew of them at the last visit."""

from django.contrib import messages
from django.db.models import Max, Sum
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from stores.messages.labels import label
from stores.models import Channel, ChannelDatabase, Customer, DownloadRange
from stores.pipeline.configuration.distributed import setting_states
from stores.pipeline.download.outbound import count_rows_of
from stores.pipeline.download.sessions import (
    SessionRefused,
    hold,
    next_download,
    resume,
    start_over,
)
from stores.web.counts import capped_count
from stores.web.forms.reason import posted_reason
from stores.web.lists.async_customers import filter_async_customers
from stores.web.lists.base import ListFilter
from stores.web.lists.channels import ChannelTable, databases_with_counts
from stores.web.lists.quarantine import filter_quarantine
from stores.web.lists.response import list_view
from stores.web.permissions import require_permission
from stores.web.request import Request, posted_id
from stores.web.views.channel_settings import setting_rows

may_send_everything = require_permission("stores.control_job", "send everything again")

may_hold_downloads = require_permission("stores.change_channeldatabase", "hold downloads")

channel_list = list_view(ListFilter, ChannelTable, databases_with_counts, "channels/list.html")


@require_safe
def channel_detail(request: Request, code: str) -> HttpResponse:
    channels = Channel.objects.select_related("company", "default_customer", "profile")
    channel = get_object_or_404(channels, code=code)
    databases = list(databases_with_counts().filter(channel=channel))
    settings = setting_states(databases)
    context = {
        "channel": channel,
        "databases": databases,
        "is_held": any(database.is_held for database in databases),
        "operation_count": capped_count(filter_async_customers(channel=code)),
        "unfinished_count": capped_count(filter_async_customers(channel=code, state="open")),
        "quarantined_count": capped_count(filter_quarantine(channel=code, status="open")),
        "customer_count": capped_count(Customer.objects.filter(guids__channel=channel)),
        "folded": DownloadRange.objects.filter(database__channel=channel).aggregate(
            sessions=Sum("sessions"), until=Max("last_applied_at")
        ),
        "settings": [(row, setting_rows(settings[row.pk])) for row in databases],
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
@may_hold_downloads
def hold_downloads(request: Request, code: str) -> HttpResponse:
    """The databases of a channel whose downloads are on hold; a POST holds or resumes one."""
    channel = get_object_or_404(Channel, code=code)
    if request.method == "POST":
        database = posted_database(request, channel)
        if request.POST.get("action") == "resume":
            resume_downloads(request, database)
        # Without a reason, posted_reason() has told the user so.
        elif reason := posted_reason(request):
            hold(database, reason, by=request.user)
            messages.success(request, f"Downloads to {database.label} are on hold.")
        return redirect("hold-downloads", channel.code)
    databases = channel.databases.select_related("channel", "held_by").order_by("name")
    return render(request, "channels/hold.html", {"channel": channel, "databases": databases})


def resume_downloads(request: Request, database: ChannelDatabase) -> None:
    try:
        resume(database)
    except SessionRefused as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(request, f"The next download sends {database.label} what it lacks.")


def posted_database(request: Request, channel: Channel) -> ChannelDatabase:
    """The database of the channel that a form names. Errors: Http404."""
    databases = channel.databases.select_related("channel")
    return get_object_or_404(databases, pk=posted_id(request, "database"))
