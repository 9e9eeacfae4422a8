"""Statements: one channel's sales of one business date, from collecting them to posting them."""

import re
from datetime import date
from typing import TYPE_CHECKING, Any, Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.urls import reverse

from stores.messages.field import MessageField
from stores.messages.message import Message

if TYPE_CHECKING:
    from stores.models.channel import Channel
    from stores.models.run import JobRun


class StatementState(models.TextChoices):
    """The states in order. A statement reaches one after the other, each in its own commit."""

    STARTED = "started", "Started"
    MARKED = "marked", "Marked"
    CALCULATED = "calculated", "Calculated"
    CHECKED = "checked", "Checked"
    AGGREGATED = "aggregated", "Aggregated"
    ORDERS_CREATED = "orders_created", "Customer orders created"
    INVOICED = "invoiced", "Invoiced"
    PAYMENTS_POSTED = "payments_posted", "Payments posted"
    POSTED = "posted", "Posted"
    # Its sales were released. Possible in every state before payments_posted.
    CANCELLED = "cancelled", "Cancelled"


FINAL_STATES = (StatementState.POSTED, StatementState.CANCELLED)
IS_FINAL = Q(state__in=FINAL_STATES)
NOT_CALCULATED = "statement_not_calculated"
NOT_POSTED = "statement_not_posted"
# The reasons of an open statement that only waits for the next job. All other reasons are errors.
WAITING_REASONS = [NOT_CALCULATED, NOT_POSTED]
# Channel, business date and sequence: houston-20261120, or houston-20261120-2.
STATEMENT_NUMBER = re.compile(r"([\w-]+)-(\d{8})(?:-([1-9]\d{0,8}))?", re.ASCII)


class StatementQuerySet(models.QuerySet["Statement"]):
    def newest_first(self) -> Self:
        return self.order_by("-business_date", "-pk")

    def with_sales(self) -> Self:
        """Annotate each statement with the number of its sales, in all currencies."""
        return self.annotate(sales=models.Sum("totals__transactions", default=0))

    def of(self, channel: "Channel", day: date | None) -> Self:
        """Statements of a channel, of one business date or of all."""
        statements = self.filter(channel=channel)
        return statements.filter(business_date=day) if day else statements

    def start(self, channel: "Channel", day: date) -> "Statement":
        """Create the next statement of a business date, without sales.

        Of two processes that start one at the same time, the constraints refuse the second.
        """
        sequence = self.of(channel, day).count() + 1
        return self.create(
            company=channel.company, channel=channel, business_date=day, sequence=sequence
        )

    def posted_since(self, day: date) -> Self:
        """Posted statements of this business date and of later ones."""
        return self.filter(state=StatementState.POSTED, business_date__gte=day)

    def numbered(self, number: str) -> "Statement | None":
        """The statement with a number such as houston-20261120 or houston-20261120-2."""
        match = STATEMENT_NUMBER.fullmatch(number)
        if match is None:
            return None
        code, day, sequence = match.groups(default="1")
        try:
            business_date = date.fromisoformat(day)
        except ValueError:
            return None
        statements = self.filter(channel__code=code, business_date=business_date, sequence=sequence)
        return statements.select_related("channel").first()

    def open(self) -> Self:
        """Statements that are neither posted nor cancelled."""
        return self.exclude(IS_FINAL)

    def stuck(self) -> Self:
        """Open statements that an error keeps from reaching their next state."""
        return self.open().exclude(reason__in=WAITING_REASONS)


class Statement(models.Model):
    """The sales of one channel and business date.

    The end of day starts it. Sales that arrive after posting get a supplementary statement, with
    the next sequence. Triggers keep a posted statement from being changed or deleted.
    """

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
    # Why it has not reached the state after `state`, one of stores.messages.reasons.REASONS; empty
    # in a final state.
    reason = models.CharField(max_length=40, blank=True, db_default=NOT_CALCULATED)
    message = MessageField()
    # How often an error has stopped it.
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
            # Sales that arrive before posting enter the open statement.
            models.UniqueConstraint(
                fields=["channel", "business_date"],
                condition=~IS_FINAL,
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
                condition=IS_FINAL | ~Q(reason=""), name="an_open_statement_says_why"
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
        """Channel, business date and, if it is supplementary, the sequence."""
        supplement = f"-{self.sequence}" if self.sequence > 1 else ""
        return f"{self.channel.code}-{self.business_date:%Y%m%d}{supplement}"

    @property
    def is_open(self) -> bool:
        return self.state not in FINAL_STATES

    @property
    def can_be_cancelled(self) -> bool:
        """Whether its sales can be released: until its payments are posted."""
        return self.is_open and self.state != StatementState.PAYMENTS_POSTED

    @property
    def is_stuck(self) -> bool:
        """Whether an error keeps it from reaching its next state."""
        return self.is_open and self.reason not in WAITING_REASONS

    def log(
        self,
        text: Message,
        *,
        run: "JobRun | None" = None,
        by: Any = None,
        state: StatementState | None = None,
    ) -> None:
        """Add an entry to its log, with its present state or another one."""
        self.events.create(state=state or self.state, text=text, run=run, user=by)
