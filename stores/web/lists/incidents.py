"""The list of incidents."""

import django_tables2 as tables
from django.db.models import QuerySet

from stores.models import Incident
from stores.models.incident import IncidentKind
from stores.web.components import when
from stores.web.lists.base import (
    Cell,
    Formatted,
    ListFilter,
    ListTable,
    State,
    channels,
    choice_filter,
    status_filter,
    wide_only,
)


class IncidentFilter(ListFilter):
    status = status_filter("closed_at")
    kind = choice_filter(IncidentKind.choices, "Kind", field="kind")
    channel = choice_filter(channels, "Channel", field="database__channel__code")


class IncidentTable(ListTable):
    caption = "Incidents"

    opened_at = Formatted(when, verbose_name="Since", order_by="pk")
    database = tables.Column(
        "Channel", order_by=("database__channel__code", "database__name"), attrs=wide_only("sm")
    )
    message = Cell("incident", verbose_name="Problem", orderable=False)
    times = tables.Column("Seen", attrs=wide_only("xl", "num"))
    status = State(verbose_name="Status", order_by="closed_at")

    class Meta(ListTable.Meta):
        empty_text = (
            "No incidents. If a channel or headquarters was restored from an older backup, or a"
            " channel was copied, it is listed here until someone closes the incident."
        )


def all_incidents() -> QuerySet[Incident]:
    return Incident.objects.newest_first().select_related("database__channel")
