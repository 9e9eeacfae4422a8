"""The list of optional customer fields with an invalid value."""

import django_tables2 as tables
from django.db.models import QuerySet

from stores.messages.labels import label
from stores.models import FieldToCorrect
from stores.pipeline.events.rules import OPTIONAL_RULES
from stores.web.lists import base

OPTIONAL_FIELDS = [(rule.field, label(rule.field)) for rule in OPTIONAL_RULES]


class FieldFilter(base.ListFilter):
    status = base.status_filter("settled_at", "settled")
    field = base.choice_filter(OPTIONAL_FIELDS, "Field", field="field")
    rule = base.choice_filter(base.reasons, "Reason", field="rule")
    channel = base.choice_filter(base.channels, "Channel", field="database__channel__code")
    since = base.FirstDayFilter("Since", "since")
    until = base.LastDayFilter("Until", "since")


class FieldTable(base.ListTable):
    title = "Fields to correct"
    lead = (
        "Optional customer fields with invalid values. The customers have their accounts; the"
        " values are kept as received until someone corrects them, on the customer's page or at"
        " the till."
    )
    if_empty = (
        "No fields to correct. An invalid phone number, receipt e-mail, language, currency or"
        " date of birth does not keep a customer from getting an account; it is listed here."
    )

    since = base.CreationColumn("Since")
    customer = base.TemplateColumn(
        "Customer", "field_customer", order_by="customer__account_number"
    )
    field = tables.Column("Field")
    shown = base.TemplateColumn("Value", "value", empty_values=(), orderable=False)
    sentence = tables.Column("Problem", order_by="rule", attrs=base.wide_only("md"))
    channel = base.DatabaseColumn(accessor="database", empty_values=(), attrs=base.wide_only("xl"))
    settled_at = base.TimeColumn("Resolved", attrs=base.wide_only("xl"))

    def render_field(self, record: FieldToCorrect) -> str:
        return label(record.field)

    def render_channel(self, record: FieldToCorrect) -> str:
        return record.database.label if record.database else "Headquarters"


def all_fields_to_correct() -> QuerySet[FieldToCorrect]:
    return FieldToCorrect.objects.newest_first().with_customer()
