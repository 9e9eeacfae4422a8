"""The nothing-lost balance, by channel database, table and day."""

import django_filters as filters
import django_tables2 as tables
from django.db.models import QuerySet

from stores.models import DayBalance
from stores.web.format import rows_word
from stores.web.lists.base import (
    DATE,
    DOCUMENTS,
    NUMBER,
    TABLES,
    WHOLE,
    Cell,
    Day,
    Formatted,
    ListFilter,
    ListTable,
    channels,
    choice,
    wide,
)

PARTS_OF_DOCUMENTS = [
    ("retail_transaction_line", "Lines"),
    ("retail_transaction_payment", "Payments"),
]


class BalanceFilter(ListFilter):
    channel = choice(channels, "Channel", field="database__channel__code")
    table = choice([*TABLES, DOCUMENTS, *PARTS_OF_DOCUMENTS], "Rows", field="table")
    since = filters.DateFilter(label="From", field_name="day", lookup_expr="gte", widget=DATE)
    until = filters.DateFilter(label="To", field_name="day", lookup_expr="lte", widget=DATE)
    odd = choice([("yes", "Only these")], "Does not add up", method="is_odd")

    class Meta:
        model = DayBalance
        fields: list[str] = []

    def is_odd(self, rows: QuerySet[DayBalance], name: str, value: str) -> QuerySet[DayBalance]:
        return rows.exclude(difference=0)


class BalanceTable(ListTable):
    caption = "Balance"
    day = Day("Day", attrs=WHOLE)
    database = tables.Column(
        "Channel",
        order_by=("database__channel__code", "database__name"),
    )
    table = Formatted(rows_word, verbose_name="Rows")
    captured = Cell("part", verbose_name="Captured", attrs=NUMBER)
    converted = Cell("part", verbose_name="Converted", attrs=NUMBER)
    linked = Cell("part", verbose_name="Linked", attrs=wide("xl", "num"))
    posted = Cell("part", verbose_name="Posted", attrs=NUMBER)
    voided = Cell("part", verbose_name="Voided", attrs=wide("xl", "num"))
    waiting = Cell("part", verbose_name="Waiting", attrs=NUMBER)
    failed = Cell("part", verbose_name="Failed", attrs=NUMBER)
    quarantined = Cell("part", verbose_name="In quarantine", attrs=NUMBER)
    erased = Cell("part", verbose_name="Erased", attrs=wide("xl", "num"))
    difference = Cell("difference", verbose_name="Difference", attrs=NUMBER)

    class Meta(ListTable.Meta):
        model = DayBalance
        fields: tuple[str, ...] = ()
        empty_text = "Nothing has arrived yet. The P-job uploads what tills have written."


def all_balances() -> QuerySet[DayBalance]:
    """Every channel database, table and day, the newest first."""
    rows = DayBalance.objects.select_related("database__channel")
    return rows.order_by("-day", "database__channel__code", "pk")
