"""Incidents."""

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
    choice,
    wide,
)


class IncidentFilter(ListFilter):
    status = choice([("open", "Open"), ("closed", "Closed")], "Status", method="in_status")
    kind = choice(IncidentKind.choices, "Kind", field="kind")
    channel = choice(channels, "Channel", field="database__channel__code")

    class Meta:
        model = Incident
        fields: list[str] = []

    def in_status(self, rows: QuerySet[Incident], name: str, value: str) -> QuerySet[Incident]:
        return rows.filter(closed_at__isnull=value == "open")


class IncidentTable(ListTable):
    caption = "Incidents"

    opened_at = Formatted(when, verbose_name="Since", order_by="pk")
    database = tables.Column(
        "Channel", order_by=("database__channel__code", "database__name"), attrs=wide("sm")
    )
    message = Cell("incident", verbose_name="What is wrong and what to do", orderable=False)
    times = tables.Column("Seen", attrs=wide("lg", "num"))
    status = State(verbose_name="Status", order_by="closed_at")

    class Meta(ListTable.Meta):
        model = Incident
        fields: tuple[str, ...] = ()
        empty_text = (
            "There is no incident here. A channel that was set back or copied, and a headquarters"
            " that was set back, show up in this list until a person has closed them."
        )


def all_incidents() -> QuerySet[Incident]:
    """Every incident, newest first."""
    return Incident.objects.newest_first().select_related("database__channel")
