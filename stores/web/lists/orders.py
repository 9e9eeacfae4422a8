"""The list of sales orders."""

import django_tables2 as tables
from django.db.models import QuerySet

from stores.models import SalesOrder
from stores.models.order import SalesOrderState
from stores.models.search import found_by_any
from stores.values.characters import normalize_key
from stores.web.lists import base
from stores.web.states import order_look


class OrderFilter(base.ListFilter):
    q = base.search_filter("Order, confirmation, invoice or account")
    channel = base.choice_filter(base.channels, "Channel", field="channel__code")
    state = base.choice_filter(SalesOrderState.choices, "State", field="state")

    def search(self, orders: base.Rows, name: str, value: str) -> base.Rows:
        value = normalize_key(value)
        found = SalesOrder.objects
        return orders.filter(
            found_by_any(
                found.numbered(value),
                found.filter(confirmation_number=value),
                found.filter(customer__account_number=value),
            )
        )


class OrderTable(base.ListTable):
    title = "Sales orders"
    lead = "Sales orders created from customer orders and posted statements."
    if_empty = (
        "No sales orders yet. Synchronize orders creates them from customer orders, and"
        " posting a statement creates them from sales."
    )

    # Narrow screens show the total and the customer below the number.
    number = base.TemplateColumn("Order", "order_number", attrs=base.NOWRAP)
    confirmation_number = tables.Column("Confirmation", attrs=base.wide_only("md"))
    channel = tables.Column("Channel", accessor="channel__name", attrs=base.wide_only("xl"))
    customer = base.TemplateColumn(
        "Customer", "buyer", accessor="customer__account_number", attrs=base.wide_only("sm")
    )
    business_date = base.DayColumn("Business date", attrs=base.wide_only("xl", "text-nowrap"))
    gross_amount = base.TemplateColumn("Total", "amount", attrs=base.wide_only("sm", "num"))
    currency = tables.Column("Currency", visible=False)
    state = base.StateColumn("State", order_look)
    invoice_number = tables.Column("Invoice", attrs=base.wide_only("xl"))


def all_orders() -> QuerySet[SalesOrder]:
    return SalesOrder.objects.newest_first().select_related("channel", "customer", "statement")
