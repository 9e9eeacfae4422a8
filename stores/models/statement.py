"""Transactional statements: one channel's sales of one business date on their way to be posted."""

import re
from datetime import date
from typing import TYPE_CHECKING, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.urls import reverse

from stores.models.transaction import MoneyField

if TYPE_CHECKING:
    from stores.models.channel import Channel


class StatementState(models.TextChoices):
    """The states in order; each is reached by a commit of its own, and none is left out."""

    STARTED = "started", "Started"
    MARKED = "marked", "Marked"
    CALCULATED = "calculated", "Calculated"
    CHECKED = "checked", "Checked"
    AGGREGATED = "aggregated", "Aggregated"
    ORDERS_CREATED = "orders_created", "Customer orders created"
    INVOICED = "invoiced", "Invoiced"
    PAYMENTS_POSTED = "payments_posted", "Payments posted"
    POSTED = "posted", "Posted"
    # A person gave its sales back; reached from any state up to invoiced.
    CANCELLED = "cancelled", "Cancelled"


ENDED = (StatementState.POSTED, StatementState.CANCELLED)
# What an open statement waits for when nothing is wrong with it.
NOT_CALCULATED, NOT_POSTED = "statement_not_calculated", "statement_not_posted"


class StatementQuerySet(models.QuerySet["Statement"]):
    def newest_first(self) -> Self:
        return self.order_by("-business_date", "-pk")

    def with_sales(self) -> Self:
        """Count the sales in it, in all currencies."""
        return self.annotate(sales=models.Sum("totals__transactions", default=0))

    def of(self, channel: "Channel", day: date | None) -> Self:
        """One channel's; only one business date's where one is named."""
        statements = self.filter(channel=channel)
        return statements.filter(business_date=day) if day else statements

    def posted_since(self, day: date) -> Self:
        """Posted, of this business date or a later one."""
        return self.filter(state=StatementState.POSTED, business_date__gte=day)

    def numbered(self, number: str) -> "Statement | None":
        form = re.fullmatch(r"([\w-]+)-(\d{8})(?:-([1-9]\d{0,8}))?", number, re.ASCII)
        if form is None:
            return None
        code, day, sequence = form.groups()
        try:
            of_day = self.filter(channel__code=code, business_date=date.fromisoformat(day))
        except ValueError:
            return None
        return of_day.select_related("channel").filter(sequence=sequence or 1).first()

    def open(self) -> Self:
        return self.exclude(state__in=ENDED)

    def stuck(self) -> Self:
        """Open, and something stands in the way of the next state."""
        return self.open().exclude(reason__in=[NOT_CALCULATED, NOT_POSTED])


class Statement(models.Model):
    """The sales of one channel and business date; what comes late gets one of its own."""

    id = models.BigAutoField(primary_key=True)
    company = models.ForeignKey("Company", models.PROTECT, db_index=False, related_name="+")
    channel = models.ForeignKey("Channel", models.PROTECT, related_name="statements")
    business_date = models.DateField()
    sequence = models.PositiveIntegerField(
        default=1, help_text="1: of the day itself; higher: supplementary."
    )
    state = models.CharField(
        max_length=15, choices=StatementState.choices, db_default=StatementState.STARTED
    )
    # Why it is not posted: what the step after `state` waits for, or what it failed on.
    reason = models.CharField(max_length=40, blank=True, db_default=NOT_CALCULATED)
    message = models.CharField(max_length=500, blank=True)
    attempts = models.PositiveIntegerField(db_default=0)
    created_at = models.DateTimeField(db_default=Now())
    calculated_at = models.DateTimeField(null=True)
    posted_at = models.DateTimeField(null=True)
    content_hash = models.BinaryField(
        max_length=32, null=True, help_text="Over all rows of a posted statement."
    )

    objects = StatementQuerySet.as_manager()

    class Meta:
        db_table = "statement"
        constraints = [
            models.UniqueConstraint(
                fields=["channel", "business_date", "sequence"], name="one_statement_per_sequence"
            ),
            # What arrives before posting joins the open statement instead of a second one.
            models.UniqueConstraint(
                fields=["channel", "business_date"],
                condition=~Q(state__in=ENDED),
                name="one_open_statement_per_day",
            ),
            models.CheckConstraint(
                condition=Q(state__in=StatementState.values), name="statement_state_is_known"
            ),
            models.CheckConstraint(
                condition=~Q(state=StatementState.POSTED)
                | Q(posted_at__isnull=False, content_hash__isnull=False),
                name="a_posted_statement_is_sealed",
            ),
            models.CheckConstraint(
                condition=Q(state__in=ENDED) | ~Q(reason=""),
                name="an_open_statement_says_why",
            ),
        ]
        permissions = [
            ("calc_statement", "Can calculate statements"),
            ("post_statement", "Can post statements"),
            ("cancel_statement", "Can cancel statements that are not posted"),
        ]

    def __str__(self) -> str:
        return self.number

    def get_absolute_url(self) -> str:
        return reverse("statement", args=[self.pk])

    @property
    def number(self) -> str:
        """Channel, day and, for a supplementary one, its sequence."""
        supplement = f"-{self.sequence}" if self.sequence > 1 else ""
        return f"{self.channel.code}-{self.business_date:%Y%m%d}{supplement}"

    @property
    def is_open(self) -> bool:
        return self.state not in ENDED

    @property
    def can_be_cancelled(self) -> bool:
        """Whether its sales can be given back: its payments are not posted."""
        return self.is_open and self.state != StatementState.PAYMENTS_POSTED

    @property
    def is_stuck(self) -> bool:
        return self.is_open and self.reason not in (NOT_CALCULATED, NOT_POSTED)


class StatementTender(models.Model):
    """What was taken in one tender and currency, for sales and for customer orders."""

    id = models.BigAutoField(primary_key=True)
    statement = models.ForeignKey(Statement, models.PROTECT, related_name="tenders")
    tender_type = models.CharField(max_length=20)
    currency = models.CharField(max_length=3)
    count = models.PositiveIntegerField()
    amount = MoneyField()
    prepaid_amount = MoneyField(db_default=0, help_text="Of it for customer orders.")

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
    WAITING = "waiting", "Waiting"
    ORDERED = "ordered", "Order created"
    FAILED = "failed", "Failed"


class StatementAggregate(models.Model):
    """The sales of one customer in one currency: they become one order.

    Sales that name nobody are those of the channel's default customer.
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
    """One thing that happened to a statement: a state reached, a failure, a retry."""

    id = models.BigAutoField(primary_key=True)
    statement = models.ForeignKey(Statement, models.PROTECT, related_name="events")
    at = models.DateTimeField(db_default=Now())
    state = models.CharField(max_length=15, choices=StatementState.choices)
    text = models.CharField(max_length=500)
    run = models.ForeignKey("JobRun", models.PROTECT, null=True, db_index=False, related_name="+")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, db_index=False, related_name="+"
    )

    class Meta:
        db_table = "statement_event"
        ordering = ["statement", "id"]

    def __str__(self) -> str:
        return f"{self.statement_id} {self.state}"
