"""Lists of sales, orders and statements."""

import django_tables2 as tables

from stores.models import RetailTransaction, SalesOrder, Statement, StatementAggregate
from stores.tables import NUMBER, WHOLE, Cell, Day, ListTable, wide


class TransactionTable(ListTable):
    caption = "Transactions"

    transaction_id = Cell("transaction", verbose_name="Transaction", orderable=False)
    channel = tables.Column("Channel", accessor="channel__name", attrs=wide("md"))
    transaction_type = tables.Column("Type", attrs=wide("sm"))
    business_date = Day("Business date", attrs=wide("lg", "text-nowrap"))
    customer = Cell(
        "buyer", verbose_name="Customer", empty_values=(), orderable=False, attrs=wide("sm")
    )
    gross_amount = Cell("amount", verbose_name="Total", attrs=NUMBER)
    currency = tables.Column("Currency", visible=False)
    receipt_number = tables.Column("Receipt", attrs=wide("xxl"))
    validation_status = Cell("badge_of_validation", verbose_name="Validation")
    settled = Cell(
        "settled",
        verbose_name="Posted",
        empty_values=(),
        orderable=False,
        attrs=wide("sm", "text-nowrap"),
    )

    class Meta(ListTable.Meta):
        model = RetailTransaction
        fields: tuple[str, ...] = ()
        empty_text = (
            "There is no transaction yet. Sales and orders that tills have written arrive here with"
            " the P-job: run it."
        )


class OrderTable(ListTable):
    caption = "Sales orders"

    number = Cell("linked", verbose_name="Order", attrs=WHOLE)
    confirmation_number = tables.Column("Confirmation", attrs=wide("md"))
    channel = tables.Column("Channel", accessor="channel__name", attrs=wide("lg"))
    customer = Cell(
        "buyer",
        verbose_name="Customer",
        accessor="customer__account_number",
        attrs=wide("sm"),
    )
    business_date = Day("Business date", attrs=wide("lg", "text-nowrap"))
    gross_amount = Cell("amount", verbose_name="Total", attrs=NUMBER)
    currency = tables.Column("Currency", visible=False)
    state = Cell("badge_of_order", verbose_name="State")
    invoice_number = tables.Column("Invoice", attrs=wide("xl"))

    class Meta(ListTable.Meta):
        model = SalesOrder
        fields: tuple[str, ...] = ()
        empty_text = (
            "There is no sales order yet. Synchronize orders makes them of customer orders, and"
            " posting a statement of sales."
        )


class StatementTable(ListTable):
    caption = "Statements"
    walks = (("business_date", "pk"),)

    number = Cell("linked", verbose_name="Statement", orderable=False)
    channel = tables.Column("Channel", accessor="channel__name", attrs=wide("md"))
    business_date = Day("Business date", attrs=WHOLE)
    state = Cell("badge_of_statement", verbose_name="State")
    sales = tables.Column("Sales", attrs=NUMBER)
    message = tables.Column("What stands in its way", attrs=wide("lg"), orderable=False)
    posted_at = Cell("when", verbose_name="Posted", attrs=wide("xl"))

    class Meta(ListTable.Meta):
        model = Statement
        fields: tuple[str, ...] = ()
        empty_text = (
            "There is no statement yet. Calculate statements takes validated sales into the"
            " statements of their business dates."
        )


class AggregateTable(ListTable):
    caption = "Aggregated orders"

    customer = tables.Column("Customer")
    currency = tables.Column("Currency")
    transactions = tables.Column("Sales")
    net_amount = tables.Column("Net")
    tax_amount = tables.Column("Tax")
    gross_amount = tables.Column("Total")
    state = tables.Column("State")
    reason = tables.Column("Reason")
    sales_order = tables.Column("Order")

    class Meta(ListTable.Meta):
        model = StatementAggregate
        fields: tuple[str, ...] = ()
