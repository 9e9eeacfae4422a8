"""Documents of the tills."""

from collections import Counter

import django_tables2 as tables
from django.db.models import Q, QuerySet

from stores.models import RetailTransaction
from stores.models.characters import tidy_key
from stores.models.labels import label
from stores.models.reason import explain
from stores.models.search import parse_guid
from stores.models.statement import StatementState
from stores.models.transaction import EntryStatus, OrderStatus, TransactionType, ValidationStatus
from stores.pipeline.sales.refused import SALE_REFUSED, SUM_TOO_LARGE
from stores.pipeline.sales.rules import SALE_RULES
from stores.web.lists.base import (
    NUMERIC,
    Cell,
    DayColumn,
    ListFilter,
    ListTable,
    Rows,
    business_day_filter,
    channels,
    choice_filter,
    day_filter,
    reasons,
    short_reason,
    text_filter,
    wide_only,
)

POSTED_CHOICES = [
    ("posted", "Posted"),
    ("open", "Not posted yet"),
    ("waiting", "Order waiting or failed"),
    ("excluded", "Never (voided)"),
]


def rule_choices() -> list[tuple[str, str]]:
    """The rules of validation, in the order in which they are held, and what posting finds.

    Those that say the same of different fields name them.
    """
    fields = {rule.code: rule.field for rule in SALE_RULES}
    fields |= {SUM_TOO_LARGE: "amount", SALE_REFUSED: "transaction_id"}
    often = Counter(map(short_reason, fields))
    return [
        (
            code,
            short_reason(code)
            if often[short_reason(code)] == 1
            else explain(code, label(name))[:-1],
        )
        for code, name in fields.items()
    ]


def exclusion_choices() -> list[tuple[str, str]]:
    """Why a sale may be in no posted statement: voided, on its way, or by the rule it breaks."""
    on_the_way = ["voided", "not_validated", "not_calculated", "statement_open", "being_corrected"]
    return [(code, short_reason(code)) for code in on_the_way] + rule_choices()


class TransactionFilter(ListFilter):
    q = text_filter(
        "Search", "Transaction, receipt, confirmation, account or GUID", method="search"
    )
    channel = choice_filter(channels, "Channel", field="channel__code")
    kind = choice_filter(TransactionType.choices, "Type", field="transaction_type")
    validation = choice_filter(ValidationStatus.choices, "Validation", field="validation_status")
    rule = choice_filter(rule_choices, "Broken rule", method="breaks")
    order = choice_filter(OrderStatus.choices, "Order status", field="order_status")
    reason = choice_filter(reasons, "Order waiting or failed because", field="order_reason")
    posted = choice_filter(POSTED_CHOICES, "Posted", method="in_state")
    why = choice_filter(exclusion_choices, "Excluded because", field="exclusion__reason")
    date = business_day_filter("Business date", "exact")
    since = day_filter("Arrived from", "staged_at", "gte")
    until = day_filter("Arrived to", "staged_at", "lt")

    def search(self, sales: Rows, name: str, value: str) -> Rows:
        if guid := parse_guid(value):
            return sales.filter(Q(async_account=guid) | Q(event_id=guid))
        value = tidy_key(value)
        return sales.filter(
            Q(transaction_id=value)
            | Q(receipt_number=value)
            | Q(confirmation_number=value)
            | Q(customer__account_number=value)
        )

    def breaks(self, sales: Rows, name: str, value: str) -> Rows:
        return sales.filter(pk__in=RetailTransaction.objects.filter(errors__rule=value))

    def in_state(self, sales: Rows, name: str, value: str) -> Rows:
        # What orders nothing, and was paid, is posted as prepayments alone.
        of_nothing = Q(prepayment_statement__state=StatementState.POSTED, gross_amount=0)
        if value == "posted":
            return sales.filter(Q(sales_order__isnull=False) | of_nothing)
        if value == "excluded":
            return sales.filter(entry_status=EntryStatus.VOIDED)
        unposted = sales.filter(sales_order__isnull=True, entry_status=EntryStatus.CONCLUDED)
        unposted = unposted.exclude(pk__in=RetailTransaction.objects.filter(of_nothing))
        return unposted.filter(order_reason__isnull=False) if value == "waiting" else unposted


class TransactionTable(ListTable):
    caption = "Transactions"

    transaction_id = tables.Column("Transaction", orderable=False, linkify=True)
    channel = tables.Column("Channel", accessor="channel__name", attrs=wide_only("md"))
    transaction_type = tables.Column("Type", attrs=wide_only("sm"))
    business_date = DayColumn("Business date", attrs=wide_only("lg", "text-nowrap"))
    customer = Cell(
        "buyer", verbose_name="Customer", empty_values=(), orderable=False, attrs=wide_only("sm")
    )
    gross_amount = Cell("amount", verbose_name="Total", attrs=NUMERIC)
    currency = tables.Column("Currency", visible=False)
    receipt_number = tables.Column("Receipt", attrs=wide_only("xxl"))
    validation_status = Cell("badge_of_validation", verbose_name="Validation")
    settled = Cell(
        "settled",
        verbose_name="Posted",
        empty_values=(),
        orderable=False,
        attrs=wide_only("sm", "text-nowrap"),
    )

    class Meta(ListTable.Meta):
        empty_text = (
            "No transactions yet. The P-job uploads sales and orders written at tills: run it."
        )


def all_transactions() -> QuerySet[RetailTransaction]:
    sales = RetailTransaction.objects.newest_first()
    return sales.select_related("channel", "customer", "sales_order").defer("content_hash")
