"""The list of channel databases, with their status and their pending rows."""

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import django_tables2 as tables
from django.db.models import Case, IntegerField, OuterRef, QuerySet, Subquery, When

from stores.channel_status import (
    ChannelStatus,
    Timeliness,
    channel_statuses,
    status_word,
)
from stores.models import (
    AsyncCustomer,
    ChannelDatabase,
    Customer,
    DownloadException,
    ExcludedDatabase,
    UnfinishedEvent,
)
from stores.models.channel import RECEIVED_UP_TO
from stores.models.job import JobCode
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
    """All channel databases, with what is pending in each.

    waiting
        Operations of customers that are uploaded, but not finished.
    pending
        Customers that the database lacks: none, if it is a register that is sent no customers.
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
    )


def with_statuses(databases: Iterable[ChannelDatabase]) -> list[Any]:
    """The databases as a list, each with its `status`."""
    rows: list[Any] = list(databases)
    statuses = channel_statuses(rows)
    for row in rows:
        row.status = statuses[row.pk]
    return rows


class ChannelFilter(base.ListFilter):
    status = base.choice_filter(Timeliness.choices, "Status", method="filter_status")

    def filter_status(self, databases: base.Rows, name: str, value: str) -> base.Rows:
        # What a status is follows from schedules, which no query knows.
        statuses = channel_statuses(ChannelDatabase.objects.select_related("channel"))
        alike = [key for key, status in statuses.items() if status.timeliness == value]
        return databases.filter(pk__in=alike)


class StatusColumn(base.TemplateColumn):
    """The status of a database, which its table knows for all rows of the page."""

    def render(self, record: ChannelDatabase, table: Any, *args: Any, **options: Any) -> Any:
        record.status = table.statuses[record.pk]  # type: ignore[attr-defined]
        return super().render(record, table, *args, **options)


class ChannelTable(base.ListTable):
    title = "Channels"
    lead = "Stores, web shops and call centers with their databases, as headquarters last saw them."
    if_empty = "No channels yet. Add one with its database, here or with create_channel."

    label = base.TemplateColumn("Channel", "channel", order_by=("channel__code", "name"))
    kind = tables.Column("Kind", accessor="channel__kind", attrs=base.wide_only("xl"))
    company = tables.Column("Company", accessor="channel__company_id", attrs=base.wide_only("xl"))
    group = tables.Column("Group", order_by="group__name", attrs=base.wide_only("xl"))
    # Nearly the order of the statuses: first those with an error, then those not visited for long.
    health = StatusColumn(
        "Status", "health", order_by=("-last_error", "is_enabled", "last_visited_at")
    )
    last_visited_at = base.TimeColumn("Last visit", attrs=base.wide_only("sm"))
    waiting = base.FormattedColumn("Waiting", capped, attrs=base.wide_only("md", "num"))
    pending = base.TemplateColumn("Pending", "pending_count", attrs=base.NUMERIC)

    # The page that is shown; CSV has none.
    page: Any = None

    @cached_property
    def statuses(self) -> dict[int, ChannelStatus]:
        """The statuses of the page, or of all databases for CSV."""
        if self.page:
            return channel_statuses(row.record for row in self.page.object_list)
        return channel_statuses(ChannelDatabase.objects.select_related("channel"))

    def value_health(self, record: ChannelDatabase) -> str:
        """The word of the status, for CSV: django-tables2 calls this by its name."""
        return status_word(record, self.statuses[record.pk])
