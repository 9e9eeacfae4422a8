"""The list of balances: for each database, table and day, what became of its rows."""

from django.db.models import QuerySet

from stores.models import DayBalance
from stores.web.format import DOCUMENT_WORDS, rows_word
from stores.web.lists import base


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
    day = base.DayColumn("Day", attrs=base.NOWRAP)
    database = base.DatabaseColumn()
    table = base.FormattedColumn("Rows", rows_word)
    captured = base.TemplateColumn("Captured", "part", attrs=base.wide_only("md", "num"))
    converted = base.TemplateColumn("Converted", "part", attrs=base.wide_only("xl", "num"))
    linked = base.TemplateColumn("Linked", "part", attrs=base.wide_only("xxl", "num"))
    posted = base.TemplateColumn("Posted", "part", attrs=base.wide_only("xl", "num"))
    voided = base.TemplateColumn("Voided", "part", attrs=base.wide_only("xxl", "num"))
    waiting = base.TemplateColumn("Waiting", "part", attrs=base.wide_only("xl", "num"))
    failed = base.TemplateColumn("Failed", "part", attrs=base.wide_only("md", "num"))
    quarantined = base.TemplateColumn("In quarantine", "part", attrs=base.wide_only("md", "num"))
    erased = base.TemplateColumn("Erased", "part", attrs=base.wide_only("xxl", "num"))
    difference = base.TemplateColumn("Difference", "difference", attrs=base.NUMERIC)


def all_balances() -> QuerySet[DayBalance]:
    rows = DayBalance.objects.select_related("database__channel")
    return rows.order_by("-day", "database__channel__code", "pk")
