"""The list of statements, and the table of the aggregated orders of one."""

import django_tables2 as tables
from django.db.models import QuerySet

from stores.models import Statement
from stores.models.statement import StatementQuerySet, StatementState
from stores.web.lists import base

ONLY_CHOICES = [("failed", "Failed only"), ("open", "Not posted only")]


class StatementFilter(base.ListFilter):
    channel = base.choice_filter(base.channels, "Channel", field="channel__code")
    state = base.choice_filter(StatementState.choices, "State", field="state")
    only = base.choice_filter(ONLY_CHOICES, "Show", method="filter_only")
    since = base.date_filter("Business date from", "business_date", "gte")
    until = base.date_filter("Business date to", "business_date", "lte")

    def filter_only(
        self, statements: StatementQuerySet, name: str, value: str
    ) -> StatementQuerySet:
        return statements.stuck() if value == "failed" else statements.open()


class StatementTable(base.ListTable):
    title = "Statements"
    lead = "Sales by channel and business date, on their way to posting."
    if_empty = (
        "No statements yet. Calculate statements adds validated sales to the statements of"
        " their business dates."
    )
    indexed_orders = (("business_date", "pk"),)

    number = tables.Column("Statement", orderable=False, linkify=True)
    channel = tables.Column("Channel", accessor="channel__name", attrs=base.wide_only("md"))
    business_date = base.DayColumn("Business date", attrs=base.NOWRAP)
    state = base.TemplateColumn("State", "badge_of_statement")
    sales = tables.Column("Sales", attrs=base.wide_only("sm", "num"))
    message = base.MessageColumn("Blocked by", attrs=base.wide_only("xl"), orderable=False)
    posted_at = base.TimeColumn("Posted", attrs=base.wide_only("xl"))


class AggregateTable(base.ListTable):
    """The aggregated orders of a statement, for its CSV."""

    customer = tables.Column("Customer")
    currency = tables.Column("Currency")
    transactions = tables.Column("Sales")
    net_amount = tables.Column("Net")
    tax_amount = tables.Column("Tax")
    gross_amount = tables.Column("Total")
    state = tables.Column("State")
    reason = tables.Column("Reason")
    sales_order = tables.Column("Order")


def all_statements() -> QuerySet[Statement]:
    return Statement.objects.newest_first().with_sales().select_related("channel")
