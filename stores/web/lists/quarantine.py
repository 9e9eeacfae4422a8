"""The list of quarantined rows."""

from uuid import UUID

import django_filters as filters
import django_tables2 as tables
from django.db.models import Q, QuerySet

from stores.messages.reasons import REASONS, explain
from stores.models import Quarantine
from stores.models.quarantine import QuarantineStatus
from stores.models.search import contact_key, parse_guid
from stores.web.lists import base


class QuarantineFilter(base.ListFilter):
    q = base.search_filter("GUID, account, e-mail, phone or words of a name")
    channel = base.choice_filter(base.channels, "Channel", field="database__channel__code")
    reason = base.choice_filter(base.reasons, "Reason", field="reason")
    status = base.choice_filter(QuarantineStatus.choices, "Status", field="status")
    table = base.choice_filter(
        [*base.EVENT_TABLE_CHOICES, base.DOCUMENT_CHOICE], "Rows", field="table"
    )
    since = base.FirstDayFilter("Arrived from", "first_seen_at")
    until = base.LastDayFilter("Arrived to", "first_seen_at")
    event = filters.UUIDFilter(label="Event or GUID", method="filter_event_or_guid")

    def search(self, rows: base.Rows, name: str, value: str) -> base.Rows:
        if guid := parse_guid(value):
            return self.filter_event_or_guid(rows, name, guid)
        if key := contact_key(value):
            matches = Quarantine.objects.with_contact_key(key)
        else:
            matches = Quarantine.objects.with_name(value)
        # Few rows match: their ids keep the planner from reading the whole list.
        ids = list(matches.values_list("pk", flat=True))
        return rows.filter(Q(account_number=value) | Q(pk__in=ids))

    def filter_event_or_guid(self, rows: base.Rows, name: str, value: UUID) -> base.Rows:
        return rows.filter(Q(event_id=value) | Q(async_account=value))


def filter_quarantine(**parameters: str) -> QuerySet[Quarantine]:
    """The rows that the list shows for these parameters of its URL, for counts that link to it."""
    rows: QuerySet[Quarantine] = QuarantineFilter(parameters, Quarantine.objects.all()).qs
    return rows


class QuarantineTable(base.ListTable):
    title = "Quarantine"
    lead = "Rows that headquarters received but cannot process, with the reason and the next step."
    if_empty = (
        "No quarantined rows. Rows that headquarters cannot process are kept here with the"
        " reason; the rest of their upload continues."
    )

    first_seen_at = base.CreationColumn("Since")
    database = base.DatabaseColumn(attrs=base.wide_only("sm"))
    table = tables.Column("Table", attrs=base.wide_only("md", "code"))
    row_key = tables.Column("Row", attrs=base.wide_only("xxl", "num"))
    field = tables.Column("Field", attrs=base.wide_only("xl", "code"))
    reason = base.TemplateColumn("Reason and next step", "quarantine_reason")
    async_account = base.TemplateColumn(
        "Async customer account", "trace_guid", attrs=base.wide_only("xl")
    )
    status = base.StateColumn("Status", attrs=base.wide_only("xl"))

    def value_reason(self, record: Quarantine) -> str:
        """The reason and the next step as text, for CSV: django-tables2 calls this by its name."""
        reason = REASONS.get(record.reason)
        may = self.request.user.has_perm
        next_step = reason.advice(may) if reason and record.is_open else ""
        return f"{explain(record.reason, record.field)} {next_step}".strip()


def all_quarantined() -> QuerySet[Quarantine]:
    rows = Quarantine.objects.newest_first().defer("raw", "payload_hash")
    return rows.select_related("database__channel")
