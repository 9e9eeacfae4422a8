"""The list of edit conflicts: one field that two places edited without knowing of each other."""

import django_tables2 as tables
from django.db.models import Q, QuerySet

from stores.messages.labels import label
from stores.models import EditConflict
from stores.pipeline.events.kinds import EVENT_KINDS
from stores.web.lists import base

# A choice beside the codes of channels, none of which has a colon.
HEADQUARTERS = "hq:"


def field_choices() -> list[tuple[str, str]]:
    """The fields that edits can conflict on."""
    # A customer's status is changed by the operation of an event, not by one of its columns.
    fields = {"is_active"}.union(*(kind.columns for kind in EVENT_KINDS))
    return [(field, label(field)) for field in sorted(fields)]


def place_choices() -> list[tuple[str, str]]:
    return [(HEADQUARTERS, "Headquarters"), *base.channels()]


def is_from(place: str, column: str) -> Q:
    """Condition: the database in this column is of a channel, or empty for headquarters."""
    if place == HEADQUARTERS:
        return Q(**{f"{column}__isnull": True})
    return Q(**{f"{column}__channel__code": place})


class ConflictFilter(base.ListFilter):
    status = base.status_filter("closed_at")
    field = base.choice_filter(field_choices, "Field", field="field")
    place = base.choice_filter(place_choices, "Channel", method="filter_place")
    # The URL calls the kept edit the one that won.
    won = base.choice_filter(place_choices, "Kept from", method="filter_kept_from")
    since = base.FirstDayFilter("Found from", "found_at")
    until = base.LastDayFilter("Found to", "found_at")

    def filter_place(self, rows: base.Rows, name: str, value: str) -> base.Rows:
        return rows.filter(is_from(value, "kept_database") | is_from(value, "lost_database"))

    def filter_kept_from(self, rows: base.Rows, name: str, value: str) -> base.Rows:
        return rows.filter(is_from(value, "kept_database"))


class ConflictTable(base.ListTable):
    title = "Edit conflicts"
    lead = (
        "Fields that two places edited without seeing each other's change. The later edit is"
        " kept, and what was removed stays removed. If a removal was not seen or a clock was"
        " wrong, you decide."
    )
    if_empty = (
        "No conflicts. When two places edit the same customer field independently, both values"
        " are listed here."
    )

    found_at = base.CreationColumn("Found", linkify=True)
    customer = tables.Column(
        "Customer", order_by="customer__account_number", linkify=True, attrs=base.wide_only("sm")
    )
    subject = tables.Column("Field", order_by=("table", "field"))
    kept_value = base.TemplateColumn("Kept value", "value")
    kept_place = base.DatabaseColumn("Kept from", "kept_database", attrs=base.wide_only("md"))
    kept_at = base.TimeColumn("Kept edit", attrs=base.wide_only("xxl"))
    # What was lost is called the other value on pages: a person may still choose it.
    lost_value = base.TemplateColumn("Other value", "value", attrs=base.wide_only("sm"))
    lost_place = base.DatabaseColumn("Other from", "lost_database", attrs=base.wide_only("md"))
    lost_at = base.TimeColumn("Other edit", attrs=base.wide_only("xxl"))
    state = base.TemplateColumn(
        "Status", "badge_of_conflict", order_by=("closed_at", "choice"), attrs=base.wide_only("sm")
    )


def all_conflicts() -> QuerySet[EditConflict]:
    return EditConflict.objects.newest_first().with_details()
