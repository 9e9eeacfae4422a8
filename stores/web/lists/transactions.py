"""The list of transactions: sales, returns and customer orders that tills wrote."""

import django_tables2 as tables
from django.db.models import Exists, OuterRef, Q, QuerySet

from stores.models import RetailTransaction
from stores.models.search import found_by_any, parse_guid
from stores.models.statement import StatementState
from stores.models.transaction import EntryStatus, OrderStatus, TransactionType, ValidationStatus
from stores.values.characters import normalize_key
from stores.web.lists import base

# "waiting" is a part of "open".
POSTED_CHOICES = [
    ("posted", "Posted"),
    ("open", "Not posted yet"),
    ("waiting", "Order waiting or failed"),
    ("excluded", "Never (voided)"),
]
# Reasons of an excluded sale beside the rules that it can break.
STATUS_REASONS = ("voided", "not_validated", "not_calculated", "statement_open", "being_corrected")

HAS_SALES_ORDER = Q(sales_order__isnull=False)
# An order without an amount gets no sales order: it is posted when its prepayments are.
HAS_POSTED_PREPAYMENT = Q(prepayment_statement__state=StatementState.POSTED, gross_amount=0)


def rule_choices() -> list[tuple[str, str]]:
    return base.reason_choices(base.RULE_FIELDS)


def exclusion_choices() -> list[tuple[str, str]]:
    """The reasons for which a sale is in no posted statement."""
    return [(code, base.short_reason(code)) for code in STATUS_REASONS] + rule_choices()


class TransactionFilter(base.ListFilter):
    q = base.search_filter("Transaction, receipt, confirmation, account or GUID")
    channel = base.choice_filter(base.channels, "Channel", field="channel__code")
    kind = base.choice_filter(TransactionType.choices, "Type", field="transaction_type")
    validation = base.choice_filter(
        ValidationStatus.choices, "Validation", field="validation_status"
    )
    rule = base.choice_filter(rule_choices, "Broken rule", method="filter_rule")
    order = base.choice_filter(OrderStatus.choices, "Order status", field="order_status")
    reason = base.choice_filter(
        base.reasons, "Order waiting or failed because", field="order_reason"
    )
    posted = base.choice_filter(POSTED_CHOICES, "Posted", method="filter_posted")
    why = base.choice_filter(exclusion_choices, "Excluded because", field="exclusion__reason")
    date = base.date_filter("Business date", "business_date", "exact")
    since = base.FirstDayFilter("Arrived from", "staged_at")
    until = base.LastDayFilter("Arrived to", "staged_at")

    def search(self, sales: base.Rows, name: str, value: str) -> base.Rows:
        if guid := parse_guid(value):
            return sales.filter(Q(async_account=guid) | Q(event_id=guid))
        value = normalize_key(value)
        found = RetailTransaction.objects
        return sales.filter(
            found_by_any(
                found.filter(transaction_id=value),
                found.filter(receipt_number=value),
                found.filter(confirmation_number=value),
                found.filter(customer__account_number=value),
            )
        )

    def filter_rule(self, sales: base.Rows, name: str, value: str) -> base.Rows:
        # By id, because a join would list a sale once for each of its errors.
        return sales.filter(pk__in=RetailTransaction.objects.filter(errors__rule=value))

    def filter_posted(self, sales: base.Rows, name: str, value: str) -> base.Rows:
        if value == "posted":
            return sales.filter(HAS_SALES_ORDER | HAS_POSTED_PREPAYMENT)
        if value == "excluded":
            return sales.filter(entry_status=EntryStatus.VOIDED)
        prepaid = RetailTransaction.objects.filter(HAS_POSTED_PREPAYMENT, pk=OuterRef("pk"))
        not_posted = sales.filter(
            ~Exists(prepaid), sales_order__isnull=True, entry_status=EntryStatus.CONCLUDED
        )
        return not_posted.filter(order_reason__isnull=False) if value == "waiting" else not_posted


class TransactionTable(base.ListTable):
    title = "Transactions"
    lead = "Sales, returns and customer orders of all channels: validated, then posted."
    if_empty = "No transactions yet. The P-job uploads sales and orders written at tills: run it."

    transaction_id = tables.Column("Transaction", orderable=False, linkify=True)
    channel = tables.Column("Channel", accessor="channel__name", attrs=base.wide_only("xl"))
    transaction_type = tables.Column("Type", attrs=base.wide_only("md"))
    business_date = base.DayColumn("Business date", attrs=base.wide_only("xl", "text-nowrap"))
    customer = base.TemplateColumn(
        "Customer", "buyer", empty_values=(), orderable=False, attrs=base.wide_only("md")
    )
    gross_amount = base.TemplateColumn("Total", "amount", attrs=base.wide_only("sm", "num"))
    # In CSV only; the page shows it with the total.
    currency = tables.Column("Currency", visible=False)
    receipt_number = tables.Column("Receipt", attrs=base.wide_only("xxl"))
    validation_status = base.TemplateColumn("Validation", "badge_of_validation")
    settled = base.TemplateColumn(
        "Posted",
        "settled",
        empty_values=(),
        orderable=False,
        attrs=base.wide_only("sm", "text-nowrap"),
    )


def all_transactions() -> QuerySet[RetailTransaction]:
    """All transactions, newest first, with what their rows show."""
    sales = RetailTransaction.objects.newest_first().defer("content_hash")
    return sales.select_related("channel", "customer", "sales_order")
