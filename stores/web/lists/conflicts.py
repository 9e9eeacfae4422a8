"""Edits that two places made of one field without knowing of each other."""

import django_tables2 as tables
from django.db.models import Q, QuerySet

from stores.models import EditConflict
from stores.models.labels import label
from stores.pipeline.events.kinds import EVENT_KINDS
from stores.web.components import when
from stores.web.lists.base import (
    Cell,
    Formatted,
    ListFilter,
    ListTable,
    Rows,
    channels,
    choice_filter,
    day_filter,
    status_filter,
    wide_only,
)

# No channel code: those have no colon.
HQ_PREFIX = "hq:"


FIELDS = [
    (column, label(column))
    for column in sorted({"is_active", *(name for kind in EVENT_KINDS for name in kind.columns)})
]


def places() -> list[tuple[str, str]]:
    return [(HQ_PREFIX, "Headquarters"), *channels()]


def of_place(side: str, code: str) -> Q:
    """That one side of a conflict is a channel, or headquarters."""
    if code == HQ_PREFIX:
        return Q((f"{side}_database__isnull", True))
    return Q((f"{side}_database__channel__code", code))


class ConflictFilter(ListFilter):
    status = status_filter("closed_at")
    field = choice_filter(FIELDS, "Field", field="field")
    place = choice_filter(places, "Channel", method="of_any")
    won = choice_filter(places, "Kept from", method="won_by")
    since = day_filter("Found from", "found_at", "gte")
    until = day_filter("Found to", "found_at", "lt")

    def of_any(self, rows: Rows, name: str, value: str) -> Rows:
        return rows.filter(of_place("lost", value) | of_place("kept", value))

    def won_by(self, rows: Rows, name: str, value: str) -> Rows:
        return rows.filter(of_place("kept", value))


class ConflictTable(ListTable):
    caption = "Edit conflicts"

    found_at = Formatted(when, verbose_name="Found", order_by="pk", linkify=True)
    customer = tables.Column("Customer", order_by="customer__account_number", linkify=True)
    subject = tables.Column("Field", order_by=("table", "field"))
    kept_value = Cell("value", verbose_name="Kept value")
    kept_place = tables.Column(
        "Kept from",
        order_by=("kept_database__channel__code", "kept_database__name"),
        attrs=wide_only("md"),
    )
    kept_at = Formatted(when, verbose_name="Its time", attrs=wide_only("xxl"))
    lost_value = Cell("value", verbose_name="Other value")
    lost_place = tables.Column(
        "Other from",
        order_by=("lost_database__channel__code", "lost_database__name"),
        attrs=wide_only("md"),
    )
    lost_at = Formatted(when, verbose_name="Its time", attrs=wide_only("xxl"))
    state = Cell("badge_of_conflict", verbose_name="Status", order_by=("closed_at", "choice"))

    class Meta(ListTable.Meta):
        empty_text = (
            "No conflicts. When two places edit the same customer field independently, both values"
            " are listed here."
        )


def all_conflicts() -> QuerySet[EditConflict]:
    return EditConflict.objects.newest_first().with_places()
