"""The pages of channels, with what HQ knew of them at the last visit."""

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from stores.models import Channel, Customer
from stores.web.counts import capped_count
from stores.web.lists.async_customers import filter_async_customers
from stores.web.lists.base import ListFilter
from stores.web.lists.channels import ChannelTable, with_counts
from stores.web.lists.quarantine import filter_quarantine
from stores.web.lists.response import list_response
from stores.web.request import Request


@require_safe
def channel_list(request: Request) -> HttpResponseBase:
    filters = ListFilter(request.GET, with_counts())
    return list_response(request, filters, ChannelTable, "channels/list.html")


@require_safe
def channel_detail(request: Request, code: str) -> HttpResponse:
    channels = Channel.objects.select_related("company", "default_customer")
    channel = get_object_or_404(channels, code=code)
    context = {
        "channel": channel,
        "databases": with_counts().filter(channel=channel),
        "open": capped_count(filter_async_customers(channel=code, state="open")),
        "sent": capped_count(filter_async_customers(channel=code)),
        "quarantined": capped_count(filter_quarantine(channel=code, status="open")),
        "given": capped_count(Customer.objects.filter(guids__channel=channel)),
    }
    return render(request, "channels/detail.html", context)
