"""Channels and their databases, as HQ last saw them."""

from django.db.models import IntegerField, OuterRef, QuerySet, Subquery
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from stores.filters import MOST_COUNTED, ListFilter, async_customers, counted, quarantine
from stores.models import AsyncCustomer, Channel, ChannelDatabase, Customer, Delivery, Incident
from stores.tables import ChannelTable
from stores.views import Request
from stores.views.lists import respond


class CappedCount(Subquery):
    """How many rows a subquery finds; it need not read all of a big table."""

    template = "(SELECT count(*) FROM (%(subquery)s) AS found)"
    output_field = IntegerField()

    def __init__(self, rows: QuerySet) -> None:  # type: ignore[type-arg]
        super().__init__(rows.order_by()[: MOST_COUNTED + 1])


class ChannelFilter(ListFilter):
    """The few channels need no filter, only order and page."""

    class Meta:
        model = ChannelDatabase
        fields: list[str] = []


def with_counts() -> QuerySet[ChannelDatabase]:
    """Every channel database with what waits in staging and what it is owed."""
    # `database > 0` is what the index for this asks for.
    waiting = (
        AsyncCustomer.objects.open().filter(database=OuterRef("pk"), database__gt=0).values("pk")
    )
    owed = Delivery.objects.owed().filter(database=OuterRef("pk")).values("customer_id")
    return ChannelDatabase.objects.with_channel().annotate(
        waiting=CappedCount(waiting),
        owed=CappedCount(owed),
        blocked_by=Subquery(Incident.objects.of_each_blocked()),
    )


@require_safe
def channel_list(request: Request) -> HttpResponseBase:
    """Every channel database: status, last visit, what waits and what is owed."""
    filters = ChannelFilter(request.GET, with_counts())
    return respond(request, filters, ChannelTable, "channels/list.html")


@require_safe
def channel_detail(request: Request, code: str) -> HttpResponse:
    """One channel with its databases."""
    channels = Channel.objects.select_related("company", "default_customer")
    channel = get_object_or_404(channels, code=code)
    context = {
        "channel": channel,
        "databases": with_counts().filter(channel=channel),
        "open": counted(async_customers(channel=code, state="open")),
        "sent": counted(async_customers(channel=code)),
        "quarantined": counted(quarantine(channel=code, status="open")),
        "given": counted(Customer.objects.filter(guids__channel=channel)),
    }
    return render(request, "channels/detail.html", context)
