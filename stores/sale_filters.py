"""Filters of the lists of sales, orders and statements."""

from collections import Counter

import django_filters as filters
from django import forms
from django.db.models import Q, QuerySet

from stores.filters import ListFilter, as_guid, channels, choice, day, in_short, reasons, text
from stores.models import RetailTransaction, SalesOrder, Statement
from stores.models.characters import tidy_key
from stores.models.labels import label
from stores.models.order import SalesOrderState
from stores.models.reason import explain
from stores.models.statement import StatementQuerySet, StatementState
from stores.models.transaction import EntryStatus, OrderStatus, TransactionType, ValidationStatus
from stores.pipeline.sales.refused import SALE_REFUSED, SUM_TOO_LARGE
from stores.pipeline.sales.rules import SALE_RULES

POSTED = [
    ("posted", "Posted"),
    ("open", "Not posted yet"),
    ("waiting", "Order waits or failed"),
    ("excluded", "Never: voided"),
]

SHOWN = [("failed", "Only those that failed"), ("open", "Only those that are not posted")]


def rules() -> list[tuple[str, str]]:
    """The rules of validation, in the order in which they are held, and what posting finds.

    Those that say the same of different fields name them.
    """
    fields = {rule.code: rule.field for rule in SALE_RULES}
    fields |= {SUM_TOO_LARGE: "amount", SALE_REFUSED: "transaction_id"}
    often = Counter(map(in_short, fields))
    return [
        (code, in_short(code) if often[in_short(code)] == 1 else explain(code, label(name))[:-1])
        for code, name in fields.items()
    ]


def exclusions() -> list[tuple[str, str]]:
    """Why a sale may be in no posted statement: voided, on its way, or by the rule it breaks."""
    on_the_way = ["voided", "not_validated", "not_calculated", "statement_open", "being_corrected"]
    return [(code, in_short(code)) for code in on_the_way] + rules()


def business_day(label: str, lookup: str) -> filters.DateFilter:
    """A day of the store's own, which has no hours."""
    typed = forms.DateInput(attrs={"type": "date"})
    return filters.DateFilter(
        label=label, field_name="business_date", lookup_expr=lookup, widget=typed
    )


class TransactionFilter(ListFilter):
    q = text("Search", "Transaction, receipt, confirmation, account or GUID", method="search")
    channel = choice(channels, "Channel", field="channel__code")
    kind = choice(TransactionType.choices, "Type", field="transaction_type")
    validation = choice(ValidationStatus.choices, "Validation", field="validation_status")
    rule = choice(rules, "Broken rule", method="breaks")
    order = choice(OrderStatus.choices, "Order status", field="order_status")
    reason = choice(reasons, "Order waits or failed because", field="order_reason")
    posted = choice(POSTED, "Posted", method="in_state")
    why = choice(exclusions, "Left out because", field="exclusion__reason")
    date = business_day("Business date", "exact")
    since = day("Arrived from", "staged_at", "gte")
    until = day("Arrived to", "staged_at", "lt")

    class Meta:
        model = RetailTransaction
        fields: list[str] = []

    def search(
        self, sales: QuerySet[RetailTransaction], name: str, value: str
    ) -> QuerySet[RetailTransaction]:
        if guid := as_guid(value):
            return sales.filter(Q(async_account=guid) | Q(event_id=guid))
        value = tidy_key(value)
        return sales.filter(
            Q(transaction_id=value)
            | Q(receipt_number=value)
            | Q(confirmation_number=value)
            | Q(customer__account_number=value)
        )

    def breaks(
        self, sales: QuerySet[RetailTransaction], name: str, value: str
    ) -> QuerySet[RetailTransaction]:
        return sales.filter(pk__in=RetailTransaction.objects.filter(errors__rule=value))

    def in_state(
        self, sales: QuerySet[RetailTransaction], name: str, value: str
    ) -> QuerySet[RetailTransaction]:
        # What orders nothing, and was paid, is posted as prepayments alone.
        of_nothing = Q(prepayment_statement__state=StatementState.POSTED, gross_amount=0)
        if value == "posted":
            return sales.filter(Q(sales_order__isnull=False) | of_nothing)
        if value == "excluded":
            return sales.filter(entry_status=EntryStatus.VOIDED)
        found = sales.filter(sales_order__isnull=True, entry_status=EntryStatus.CONCLUDED)
        found = found.exclude(pk__in=RetailTransaction.objects.filter(of_nothing))
        return found.filter(order_reason__isnull=False) if value == "waiting" else found


class OrderFilter(ListFilter):
    q = text("Search", "Order, confirmation, invoice or account", method="search")
    channel = choice(channels, "Channel", field="channel__code")
    state = choice(SalesOrderState.choices, "State", field="state")

    class Meta:
        model = SalesOrder
        fields: list[str] = []

    def search(self, orders: QuerySet[SalesOrder], name: str, value: str) -> QuerySet[SalesOrder]:
        value = tidy_key(value)
        return orders.filter(
            Q(number=value)
            | Q(confirmation_number=value)
            | Q(invoice_number=value)
            | Q(customer__account_number=value)
        )


class StatementFilter(ListFilter):
    channel = choice(channels, "Channel", field="channel__code")
    state = choice(StatementState.choices, "State", field="state")
    only = choice(SHOWN, "Show", method="failed")
    since = business_day("Business date from", "gte")
    until = business_day("Business date to", "lte")

    class Meta:
        model = Statement
        fields: list[str] = []

    def failed(self, statements: StatementQuerySet, name: str, value: str) -> StatementQuerySet:
        return statements.stuck() if value == "failed" else statements.open()
