"""The list of channel databases, with their pending rows."""

import django_tables2 as tables
from django.db.models import Case, IntegerField, OuterRef, QuerySet, Subquery, When

from stores.models import (
    AsyncCustomer,
    ChannelDatabase,
    Customer,
    DownloadException,
    ExcludedDatabase,
    Incident,
    UnfinishedEvent,
)
from stores.models.channel import RECEIVED_UP_TO
from stores.models.job import JobCode
from stores.pipeline.download.sessions import suspended_in_strict_order
from stores.web.counts import MAX_COUNTED
from stores.web.format import capped
from stores.web.lists import base


class CappedCount(Subquery):
    """The number of rows that a subquery finds, counted up to MAX_COUNTED + 1."""

    template = "(SELECT count(*) FROM (%(subquery)s) AS found)"
    output_field = IntegerField()

    def __init__(self, rows: QuerySet) -> None:  # type: ignore[type-arg]
        super().__init__(rows.order_by()[: MAX_COUNTED + 1])


def databases_with_counts() -> QuerySet[ChannelDatabase]:
    """All channel databases, with what is pending in each, and what blocks it.

    waiting
        Operations of customers that are uploaded, but not finished.
    pending
        Customers that the database lacks: none, if it is a register that is sent no customers.
    blocked_by, suspended_by
        The oldest incident that stops its visits, and a suspended download; None if there is none.
    """
    waiting = UnfinishedEvent.objects.filter(
        table=AsyncCustomer.log_table(), database=OuterRef("pk")
    )
    pending = Customer.objects.filter(
        company=OuterRef("channel__company"), change_no__gt=OuterRef("received")
    )
    excepted = DownloadException.objects.lacking().filter(
        database=OuterRef("pk"), customer__change_no__lte=OuterRef("received")
    )
    databases = (
        ChannelDatabase.objects.with_channel()
        .select_related("uploads_paused_by", "downloads_paused_by")
        .annotate(received=RECEIVED_UP_TO)
    )
    return databases.annotate(
        waiting=CappedCount(waiting.values("event_id")),
        # A sum of two such counts may be larger; every number above MAX_COUNTED is shown alike.
        pending=Case(
            When(
                pk__in=ExcludedDatabase.objects.filter(job=JobCode.DOWNLOAD).values("database"),
                then=0,
            ),
            default=CappedCount(pending.values("pk")) + CappedCount(excepted.values("pk")),
        ),
        blocked_by=Subquery(Incident.objects.oldest_blocking_pk(OuterRef("pk"))),
        suspended_by=Subquery(
            suspended_in_strict_order().filter(database=OuterRef("pk")).values("pk")[:1]
        ),
    )


class ChannelTable(base.ListTable):
    title = "Channels"
    lead = "Stores, web shops and call centers with their databases, as headquarters last saw them."
    if_empty = "No channels yet. Add one with its database, here or with create_channel."

    label = base.TemplateColumn("Channel", "channel", order_by=("channel__code", "name"))
    kind = tables.Column("Kind", accessor="channel__kind", attrs=base.wide_only("xl"))
    company = tables.Column("Company", accessor="channel__company_id", attrs=base.wide_only("xl"))
    group = tables.Column("Group", order_by="group__name", attrs=base.wide_only("xl"))
    # In descending order of the error, databases without one come last.
    health = base.TemplateColumn(
        "Status", "health", order_by=("-last_error", "is_enabled", "last_visited_at")
    )
    last_visited_at = base.TimeColumn("Last visit", attrs=base.wide_only("sm"))
    waiting = base.FormattedColumn("Waiting", capped, attrs=base.wide_only("md", "num"))
    pending = base.TemplateColumn("Pending", "pending_count", attrs=base.NUMERIC)

    def value_health(self, record: ChannelDatabase) -> str:
        """The last error, for CSV: django-tables2 calls this by its name."""
        return str(record.last_error)
