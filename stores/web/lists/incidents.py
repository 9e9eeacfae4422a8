"""The list of incidents."""

import django_tables2 as tables
from django.db.models import QuerySet

from stores.models import Incident
from stores.models.incident import IncidentKind
from stores.web.lists import base


class IncidentFilter(base.ListFilter):
    status = base.status_filter("closed_at")
    kind = base.choice_filter(IncidentKind.choices, "Kind", field="kind")
    channel = base.choice_filter(base.channels, "Channel", field="database__channel__code")


class IncidentTable(base.ListTable):
    title = "Incidents"
    lead = (
        "Problems that stay open until someone closes them with a reason. Everything else continues"
        " meanwhile."
    )
    if_empty = (
        "No incidents. If a channel or headquarters was restored from an older backup, or a"
        " channel was copied, it is listed here until someone closes the incident."
    )

    opened_at = base.CreationColumn("Since")
    database = base.DatabaseColumn(attrs=base.wide_only("sm"))
    message = base.TemplateColumn("Problem", "incident", orderable=False)
    times = tables.Column("Seen", attrs=base.wide_only("xl", "num"))
    status = base.StateColumn("Status", order_by="closed_at")


def all_incidents() -> QuerySet[Incident]:
    return Incident.objects.newest_first().select_related("database__channel")
