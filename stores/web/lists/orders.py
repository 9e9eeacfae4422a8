"""The list of sales orders."""

import django_tables2 as tables
from django.db.models import Q, QuerySet

from stores.models import SalesOrder
from stores.models.characters import normalize_key
from stores.models.order import SalesOrderState
from stores.web.lists.base import (
    NOWRAP,
    NUMERIC,
    Cell,
    DayColumn,
    ListFilter,
    ListTable,
    Rows,
    State,
    channels,
    choice_filter,
    text_filter,
    wide_only,
)
from stores.web.states import order_look


class OrderFilter(ListFilter):
    q = text_filter("Search", "Order, confirmation, invoice or account", method="search")
    channel = choice_filter(channels, "Channel", field="channel__code")
    state = choice_filter(SalesOrderState.choices, "State", field="state")

    def search(self, orders: Rows, name: str, value: str) -> Rows:
        value = normalize_key(value)
        return orders.filter(
            Q(number=value)
            | Q(confirmation_number=value)
            | Q(invoice_number=value)
            | Q(customer__account_number=value)
        )


class OrderTable(ListTable):
    caption = "Sales orders"

    number = tables.Column("Order", attrs=NOWRAP, linkify=True)
    confirmation_number = tables.Column("Confirmation", attrs=wide_only("md"))
    channel = tables.Column("Channel", accessor="channel__name", attrs=wide_only("xl"))
    customer = Cell(
        "buyer",
        verbose_name="Customer",
        accessor="customer__account_number",
        attrs=wide_only("sm"),
    )
    business_date = DayColumn("Business date", attrs=wide_only("xl", "text-nowrap"))
    gross_amount = Cell("amount", verbose_name="Total", attrs=NUMERIC)
    currency = tables.Column("Currency", visible=False)
    state = State(order_look, verbose_name="State")
    invoice_number = tables.Column("Invoice", attrs=wide_only("xl"))

    class Meta(ListTable.Meta):
        empty_text = (
            "No sales orders yet. Synchronize orders creates them from customer orders, and"
            " posting a statement creates them from sales."
        )


def all_orders() -> QuerySet[SalesOrder]:
    return SalesOrder.objects.newest_first().select_related("channel", "customer", "statement")
