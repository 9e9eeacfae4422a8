"""The list of edit conflicts: one field that two places edited without knowing of each other."""

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
    first_day_filter,
    last_day_filter,
    status_filter,
    wide_only,
)

# Stands for headquarters among the codes of channels, which have no colon.
HEADQUARTERS = "hq:"


def field_choices() -> list[tuple[str, str]]:
    """The fields that edits can conflict on."""
    fields = {"is_active"}.union(*(kind.columns for kind in EVENT_KINDS))
    return [(field, label(field)) for field in sorted(fields)]


def place_choices() -> list[tuple[str, str]]:
    return [(HEADQUARTERS, "Headquarters"), *channels()]


def kept_from(place: str) -> Q:
    """The condition that the kept value comes from a channel or from headquarters."""
    if place == HEADQUARTERS:
        return Q(kept_database__isnull=True)
    return Q(kept_database__channel__code=place)


def lost_from(place: str) -> Q:
    """The condition that the other value comes from a channel or from headquarters."""
    if place == HEADQUARTERS:
        return Q(lost_database__isnull=True)
    return Q(lost_database__channel__code=place)


class ConflictFilter(ListFilter):
    status = status_filter("closed_at")
    field = choice_filter(field_choices, "Field", field="field")
    place = choice_filter(place_choices, "Channel", method="filter_place")
    won = choice_filter(place_choices, "Kept from", method="filter_kept_from")
    since = first_day_filter("Found from", "found_at")
    until = last_day_filter("Found to", "found_at")

    def filter_place(self, rows: Rows, name: str, value: str) -> Rows:
        return rows.filter(kept_from(value) | lost_from(value))

    def filter_kept_from(self, rows: Rows, name: str, value: str) -> Rows:
        return rows.filter(kept_from(value))


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
