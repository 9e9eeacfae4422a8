"""The list of optional customer fields with an invalid value."""

import django_tables2 as tables
from django.db.models import QuerySet

from stores.models import FieldToCorrect
from stores.models.labels import label
from stores.pipeline.events.rules import OPTIONAL_RULES
from stores.web.components import when
from stores.web.lists.base import (
    Cell,
    Formatted,
    ListFilter,
    ListTable,
    channels,
    choice_filter,
    first_day_filter,
    last_day_filter,
    reasons,
    status_filter,
    wide_only,
)

OPTIONAL_FIELDS = [(rule.field, label(rule.field)) for rule in OPTIONAL_RULES]


class FieldFilter(ListFilter):
    status = status_filter("settled_at", "settled")
    field = choice_filter(OPTIONAL_FIELDS, "Field", field="field")
    rule = choice_filter(reasons, "Reason", field="rule")
    channel = choice_filter(channels, "Channel", field="database__channel__code")
    since = first_day_filter("Since", "since")
    until = last_day_filter("Until", "since")


class FieldTable(ListTable):
    caption = "Fields to correct"

    since = Formatted(when, verbose_name="Since", order_by="pk")
    customer = Cell("field_customer", verbose_name="Customer", order_by="customer__account_number")
    field = tables.Column("Field")
    shown = Cell("value", verbose_name="Value", empty_values=(), orderable=False)
    sentence = tables.Column("Problem", order_by="rule", attrs=wide_only("md"))
    channel = tables.Column(
        "Channel",
        accessor="database",
        empty_values=(),
        order_by=("database__channel__code", "database__name"),
        attrs=wide_only("xl"),
    )
    settled_at = Formatted(when, verbose_name="Resolved", attrs=wide_only("xl"))

    class Meta(ListTable.Meta):
        empty_text = (
            "No fields to correct. An invalid phone number, receipt e-mail, language, currency or"
            " date of birth does not keep a customer from getting an account; it is listed here."
        )

    def render_field(self, record: FieldToCorrect) -> str:
        return label(record.field)

    def render_channel(self, record: FieldToCorrect) -> str:
        return record.database.label if record.database else "Headquarters"


def all_fields_to_correct() -> QuerySet[FieldToCorrect]:
    return FieldToCorrect.objects.newest_first().with_customer()
