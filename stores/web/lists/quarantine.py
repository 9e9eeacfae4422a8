"""The list of quarantined rows."""

from uuid import UUID

import django_filters as filters
import django_tables2 as tables
from django.db.models import Q, QuerySet

from stores.models import Quarantine
from stores.models.quarantine import QuarantineStatus
from stores.models.reason import REASONS, explain
from stores.models.search import contact_key, parse_guid
from stores.web.components import when
from stores.web.lists.base import (
    DOCUMENT_CHOICE,
    EVENT_TABLE_CHOICES,
    Cell,
    Formatted,
    ListFilter,
    ListTable,
    Rows,
    State,
    channels,
    choice_filter,
    first_day_filter,
    last_day_filter,
    reasons,
    text_filter,
    wide_only,
)


class QuarantineFilter(ListFilter):
    q = text_filter("Search", "GUID, account, e-mail, phone or words of a name", method="search")
    channel = choice_filter(channels, "Channel", field="database__channel__code")
    reason = choice_filter(reasons, "Reason", field="reason")
    status = choice_filter(QuarantineStatus.choices, "Status", field="status")
    table = choice_filter([*EVENT_TABLE_CHOICES, DOCUMENT_CHOICE], "Rows", field="table")
    since = first_day_filter("Arrived from", "first_seen_at")
    until = last_day_filter("Arrived to", "first_seen_at")
    event = filters.UUIDFilter(label="Event or GUID", method="filter_event")

    def search(self, rows: Rows, name: str, value: str) -> Rows:
        if guid := parse_guid(value):
            return self.filter_event(rows, name, guid)
        if key := contact_key(value):
            matches = Quarantine.objects.reached_at(key)
        else:
            matches = Quarantine.objects.with_name(value)
        # Few rows match: their ids keep the planner from reading the whole list.
        ids = list(matches.values_list("pk", flat=True))
        return rows.filter(Q(account_number=value) | Q(pk__in=ids))

    def filter_event(self, rows: Rows, name: str, value: UUID) -> Rows:
        return rows.filter(Q(event_id=value) | Q(async_account=value))


def filter_quarantine(**filters: str) -> QuerySet[Quarantine]:
    rows: QuerySet[Quarantine] = QuarantineFilter(filters, Quarantine.objects.all()).qs
    return rows


class QuarantineTable(ListTable):
    caption = "Quarantined rows"

    first_seen_at = Formatted(when, verbose_name="Since", order_by="pk")
    database = tables.Column(
        "Channel", order_by=("database__channel__code", "database__name"), attrs=wide_only("sm")
    )
    table = tables.Column("Table", attrs=wide_only("md", "code"))
    row_key = tables.Column("Row", attrs=wide_only("xxl", "num"))
    field = tables.Column("Field", attrs=wide_only("xl", "code"))
    reason = Cell("quarantine_reason", verbose_name="Reason and next step")
    async_account = Cell("trace_guid", verbose_name="Async customer account", attrs=wide_only("xl"))
    status = State(verbose_name="Status", attrs=wide_only("xl"))

    class Meta(ListTable.Meta):
        empty_text = (
            "No quarantined rows. Rows that headquarters cannot process are kept here with the"
            " reason; the rest of their upload continues."
        )

    def value_reason(self, record: Quarantine) -> str:
        """The reason and the next step of the user, as the page shows them."""
        reason = REASONS.get(record.reason)
        next_step = reason.advice(self.request.user.has_perm) if reason else ""
        return f"{explain(record.reason, record.field)} {next_step}".strip()


def all_quarantined() -> QuerySet[Quarantine]:
    """All quarantined rows, newest first, without their values."""
    rows = Quarantine.objects.newest_first().defer("raw", "payload_hash")
    return rows.select_related("database__channel")
