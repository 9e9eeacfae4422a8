"""What a statement consists of: totals, tenders, aggregates, and the log of its events."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from stores.messages.field import MessageField
from stores.models.statement import Statement, StatementState
from stores.models.transaction import MoneyField


class StatementTender(models.Model):
    """The payments in one tender and currency, for sales and for customer orders.

    Like the totals and the aggregates, each calculation of an open statement writes it anew.
    """

    id = models.BigAutoField(primary_key=True)
    statement = models.ForeignKey(Statement, models.PROTECT, related_name="tenders")
    tender_type = models.CharField(max_length=20)
    currency = models.CharField(max_length=3)
    count = models.PositiveIntegerField()
    amount = MoneyField()
    prepaid_amount = MoneyField(
        db_default=0, help_text="The part of it that was paid for customer orders."
    )

    class Meta:
        db_table = "statement_tender"
        ordering = ["statement", "currency", "tender_type"]
        constraints = [
            models.UniqueConstraint(
                fields=["statement", "tender_type", "currency"], name="a_tender_is_summed_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.statement_id} {self.tender_type} {self.currency}"


class StatementTotal(models.Model):
    """The sum of the sales in one currency."""

    id = models.BigAutoField(primary_key=True)
    statement = models.ForeignKey(Statement, models.PROTECT, related_name="totals")
    currency = models.CharField(max_length=3)
    transactions = models.PositiveIntegerField()
    net_amount = MoneyField()
    tax_amount = MoneyField()
    gross_amount = MoneyField()
    discount_amount = MoneyField()

    class Meta:
        db_table = "statement_total"
        ordering = ["statement", "currency"]
        constraints = [
            models.UniqueConstraint(
                fields=["statement", "currency"], name="a_currency_is_summed_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.statement_id} {self.currency}"


class AggregateState(models.TextChoices):
    """Whether the sales order of an aggregate has been created."""

    WAITING = "waiting", "Waiting"
    ORDERED = "ordered", "Order created"
    FAILED = "failed", "Failed"


class StatementAggregate(models.Model):
    """The sales of one customer in one currency, which become one sales order.

    Sales without a customer belong to the channel's default customer.
    """

    id = models.BigAutoField(primary_key=True)
    statement = models.ForeignKey(Statement, models.PROTECT, related_name="aggregates")
    customer = models.ForeignKey("Customer", models.PROTECT, db_index=False, related_name="+")
    currency = models.CharField(max_length=3)
    transactions = models.PositiveIntegerField()
    net_amount = MoneyField()
    tax_amount = MoneyField()
    gross_amount = MoneyField()
    discount_amount = MoneyField()
    state = models.CharField(
        max_length=7, choices=AggregateState.choices, db_default=AggregateState.WAITING
    )
    reason = models.CharField(max_length=40, blank=True, db_default="")
    sales_order = models.OneToOneField(
        "SalesOrder", models.PROTECT, null=True, related_name="aggregate"
    )

    class Meta:
        db_table = "statement_aggregate"
        ordering = ["statement", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["statement", "customer", "currency"],
                name="one_aggregate_per_customer_and_currency",
            ),
            models.CheckConstraint(
                condition=Q(state__in=AggregateState.values), name="aggregate_state_is_known"
            ),
            models.CheckConstraint(
                condition=~Q(state=AggregateState.ORDERED) | Q(sales_order__isnull=False),
                name="an_ordered_aggregate_has_its_order",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.statement_id} {self.currency}"


class StatementEvent(models.Model):
    """An entry in the log of a statement: a state it reached, an error, or a decision."""

    id = models.BigAutoField(primary_key=True)
    statement = models.ForeignKey(Statement, models.PROTECT, related_name="events")
    at = models.DateTimeField(db_default=Now())
    state = models.CharField(max_length=15, choices=StatementState.choices)
    text = MessageField()
    run = models.ForeignKey("JobRun", models.PROTECT, null=True, db_index=False, related_name="+")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, db_index=False, related_name="+"
    )

    class Meta:
        db_table = "statement_event"
        ordering = ["statement", "id"]

    def __str__(self) -> str:
        return f"{self.statement_id} {self.state}"
