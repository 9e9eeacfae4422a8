"""The list of balances: for each database, table and day, what became of its rows."""

import django_tables2 as tables
from django.db.models import QuerySet

from stores.models import DayBalance
from stores.web.format import DOCUMENT_WORDS, rows_word
from stores.web.lists.base import (
    EVENT_TABLE_CHOICES,
    NOWRAP,
    NUMERIC,
    Cell,
    DayColumn,
    Formatted,
    ListFilter,
    ListTable,
    Rows,
    channels,
    choice_filter,
    date_filter,
    wide_only,
)


class BalanceFilter(ListFilter):
    channel = choice_filter(channels, "Channel", field="database__channel__code")
    table = choice_filter([*EVENT_TABLE_CHOICES, *DOCUMENT_WORDS.items()], "Rows", field="table")
    since = date_filter("From", "day", "gte")
    until = date_filter("To", "day", "lte")
    odd = choice_filter([("yes", "Only these")], "Does not add up", method="filter_unbalanced")

    def filter_unbalanced(self, rows: Rows, name: str, value: str) -> Rows:
        return rows.exclude(difference=0)


class BalanceTable(ListTable):
    caption = "Balance"
    day = DayColumn("Day", attrs=NOWRAP)
    database = tables.Column(
        "Channel",
        order_by=("database__channel__code", "database__name"),
    )
    table = Formatted(rows_word, verbose_name="Rows")
    captured = Cell("part", verbose_name="Captured", attrs=NUMERIC)
    converted = Cell("part", verbose_name="Converted", attrs=NUMERIC)
    linked = Cell("part", verbose_name="Linked", attrs=wide_only("xxl", "num"))
    posted = Cell("part", verbose_name="Posted", attrs=NUMERIC)
    voided = Cell("part", verbose_name="Voided", attrs=wide_only("xxl", "num"))
    waiting = Cell("part", verbose_name="Waiting", attrs=NUMERIC)
    failed = Cell("part", verbose_name="Failed", attrs=NUMERIC)
    quarantined = Cell("part", verbose_name="In quarantine", attrs=NUMERIC)
    erased = Cell("part", verbose_name="Erased", attrs=wide_only("xxl", "num"))
    difference = Cell("difference", verbose_name="Difference", attrs=NUMERIC)

    class Meta(ListTable.Meta):
        empty_text = "Nothing has arrived yet. The P-job uploads what tills have written."


def all_balances() -> QuerySet[DayBalance]:
    rows = DayBalance.objects.select_related("database__channel")
    return rows.order_by("-day", "database__channel__code", "pk")
