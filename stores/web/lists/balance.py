"""The list of balances: for each database, table and day, what became of its rows."""

from django.db.models import QuerySet

from stores.models import DayBalance
from stores.web.format import DOCUMENT_WORDS
from stores.web.lists import base

PARTS = base.wide_only("xxl", "num")


class BalanceFilter(base.ListFilter):
    channel = base.choice_filter(base.channels, "Channel", field="database__channel__code")
    table = base.choice_filter(
        [*base.EVENT_TABLE_CHOICES, *DOCUMENT_WORDS.items()], "Rows", field="table"
    )
    since = base.date_filter("From", "day", "gte")
    until = base.date_filter("To", "day", "lte")
    odd = base.choice_filter([("yes", "Only these")], "Does not add up", method="filter_unbalanced")

    def filter_unbalanced(self, rows: base.Rows, name: str, value: str) -> base.Rows:
        return rows.exclude(difference=0)


class BalanceTable(base.ListTable):
    title = "Balance"
    lead = (
        "Every row received from a channel, by the day it arrived (UTC), and where it is now:"
        " captured = converted + linked + posted + voided + waiting + failed + in quarantine +"
        " erased. Lines and payments are counted with their sale."
    )
    if_empty = "Nothing has arrived yet. The P-job uploads what tills have written."
    # Narrow screens show the day below the rows.
    day = base.DayColumn("Day", attrs=base.wide_only("sm", "text-nowrap"))
    database = base.DatabaseColumn()
    table = base.TemplateColumn("Rows", "balance_rows")
    # Below it, screens that have no room for the next columns show all of these that are not 0.
    captured = base.TemplateColumn("Captured", "captured", attrs=base.NUMERIC)
    converted = base.TemplateColumn("Converted", "part", attrs=PARTS)
    linked = base.TemplateColumn("Linked", "part", attrs=PARTS)
    posted = base.TemplateColumn("Posted", "part", attrs=PARTS)
    voided = base.TemplateColumn("Voided", "part", attrs=PARTS)
    waiting = base.TemplateColumn("Waiting", "part", attrs=PARTS)
    failed = base.TemplateColumn("Failed", "part", attrs=PARTS)
    quarantined = base.TemplateColumn("In quarantine", "part", attrs=PARTS)
    erased = base.TemplateColumn("Erased", "part", attrs=PARTS)
    difference = base.TemplateColumn("Difference", "difference", attrs=base.NUMERIC)


def all_balances() -> QuerySet[DayBalance]:
    rows = DayBalance.objects.select_related("database__channel")
    return rows.order_by("-day", "database__channel__code", "pk")
