"""Transactions of tills: sales, returns and customer orders, and their progress at headquarters.

A transaction arrives together with its lines and payments, and is accepted or quarantined with
them.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import Self

from django.conf import settings
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone

from stores.models.staging import Origin

# The reason of a customer order for which no sales order has been tried yet.
NOT_ORDERED = "not_ordered"
# All digits, and decimal places, of an amount of money, a price or a quantity.
DIGITS, PLACES = 18, 4
# How long a person can correct a transaction; jobs and other people cannot change it meanwhile.
LEASE = timedelta(minutes=15)
# A lease that ends later than this was taken before the clock was set back. It does not count.
# HQ's function is_being_corrected() has the same length.
LONGEST_LEASE = 2 * LEASE


class MoneyField(models.DecimalField):  # type: ignore[type-arg]
    """An exact amount in its document's currency, or a quantity."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **{"max_digits": DIGITS, "decimal_places": PLACES} | options)  # type: ignore[arg-type]


class TransactionType(models.TextChoices):
    SALE = "sale", "Sale"
    RETURN = "return", "Return"
    CUSTOMER_ORDER = "customer_order", "Customer order"


class EntryStatus(models.TextChoices):
    """How the sale ended at the till. A voided one is kept, and never posted."""

    CONCLUDED = "concluded", "Concluded"
    VOIDED = "voided", "Voided"


class ValidationStatus(models.TextChoices):
    NONE = "none", "Not validated"
    SUCCESSFUL = "successful", "Successful"
    ERROR = "error", "Error"


class OrderStatus(models.TextChoices):
    """Whether a customer order has become a sales order. Editing: a person is correcting it."""

    NONE = "none", "None"
    FAILED = "failed", "Failed"
    SUCCEEDED = "succeeded", "Succeeded"
    EDITING = "editing", "Editing"


def being_corrected(prefix: str = "") -> Q:
    """Condition: a person is correcting the transaction. `prefix` is the path to it, with `__`."""
    return Q(**{f"{prefix}editing_until__range": (Now(), Now() + LONGEST_LEASE)})


class RetailTransactionQuerySet(models.QuerySet["RetailTransaction"]):
    def newest_first(self) -> Self:
        return self.order_by("-pk")

    def sold(self) -> Self:
        """Sales and returns that were not voided."""
        return self.filter(
            transaction_type__in=[TransactionType.SALE, TransactionType.RETURN],
            entry_status=EntryStatus.CONCLUDED,
        )

    def orders(self) -> Self:
        """Customer orders that were not voided."""
        return self.filter(
            transaction_type=TransactionType.CUSTOMER_ORDER, entry_status=EntryStatus.CONCLUDED
        )

    def orders_numbered(self, number: str, channels: Sequence[str] = ()) -> Self:
        """Customer orders with a confirmation number, in the given channels or in all."""
        orders = self.orders().filter(confirmation_number=number)
        return orders.filter(channel__code__in=channels) if channels else orders


class RetailTransaction(models.Model):
    """One sale, return or customer order of a till.

    Uploads write it, and it is never deleted. Only a person changes what the till wrote; each
    change is kept as a TransactionChange.
    """

    id = models.BigAutoField(primary_key=True)
    event_id = models.UUIDField(unique=True)
    origin = models.CharField(max_length=4, choices=Origin.choices, db_default=Origin.TILL)
    database = models.ForeignKey(
        "ChannelDatabase", models.PROTECT, null=True, db_index=False, related_name="transactions"
    )
    channel = models.ForeignKey(
        "Channel", models.PROTECT, db_index=False, related_name="transactions"
    )
    company = models.ForeignKey("Company", models.PROTECT, db_index=False, related_name="+")
    generation = models.IntegerField(db_default=1)
    replication_counter = models.BigIntegerField()
    occurred_at = models.DateTimeField()
    async_account = models.UUIDField(null=True)
    account_number = models.CharField(max_length=20, null=True)
    staff_id = models.CharField(max_length=25, null=True)
    terminal_id = models.CharField(max_length=10, null=True)
    created_offline = models.BooleanField(null=True)
    # None: made at HQ, or released from quarantine; the quarantined row then has the session.
    session = models.ForeignKey(
        "UploadSession", models.PROTECT, null=True, db_index=False, related_name="transactions"
    )
    # Of a correction made at HQ: who made it, and the id of the quarantined row that it replaces.
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, db_index=False, related_name="+"
    )
    corrects = models.CharField(max_length=36, null=True)
    staged_at = models.DateTimeField(db_default=Now())
    # SHA-256 of what the till wrote, lines and payments too: it tells a repetition from a conflict.
    content_hash = models.BinaryField(max_length=32)

    # The number that the till gave, unique in its store.
    transaction_id = models.CharField(max_length=44)
    transaction_type = models.CharField(max_length=14, choices=TransactionType.choices)
    entry_status = models.CharField(max_length=9, choices=EntryStatus.choices)
    # Of a customer order: the number by which customer and store know it.
    confirmation_number = models.CharField(max_length=50, null=True)
    # The till's, or computed from the time of the sale and the end of the store's day.
    business_date = models.DateField()
    store_number = models.CharField(max_length=10, null=True)
    currency = models.CharField(max_length=3)
    net_amount = MoneyField()
    tax_amount = MoneyField()
    gross_amount = MoneyField()
    discount_amount = MoneyField()
    payment_amount = MoneyField()
    line_count = models.IntegerField()
    delivery_address_id = models.UUIDField(null=True)
    delivery_mode = models.CharField(max_length=10, null=True)
    receipt_number = models.CharField(max_length=18, null=True)

    # Empty until HQ knows the account of the customer.
    customer = models.ForeignKey(
        "Customer", models.PROTECT, null=True, db_index=False, related_name="transactions"
    )
    validation_status = models.CharField(
        max_length=10, choices=ValidationStatus.choices, db_default=ValidationStatus.NONE
    )
    validated_at = models.DateTimeField(null=True)
    order_status = models.CharField(
        max_length=9, choices=OrderStatus.choices, db_default=OrderStatus.NONE
    )
    # Of a customer order: how often and when a sales order was tried, and why there is none yet.
    order_attempts = models.PositiveIntegerField(db_default=0)
    order_tried_at = models.DateTimeField(null=True)
    order_reason = models.CharField(max_length=40, null=True)
    order_field = models.CharField(max_length=40, null=True)
    sales_order = models.ForeignKey(
        "SalesOrder", models.PROTECT, null=True, related_name="transactions"
    )
    statement = models.ForeignKey(
        "Statement", models.PROTECT, null=True, related_name="transactions"
    )
    # Of a customer order: the statement that posts its payments. `statement` stays empty.
    prepayment_statement = models.ForeignKey(
        "Statement", models.PROTECT, null=True, db_index=False, related_name="prepaid_orders"
    )
    is_mended = models.BooleanField(db_default=False, help_text="A person has changed it.")
    shares_number = models.BooleanField(
        db_default=False,
        help_text="A person confirmed that it is no copy of another channel's transaction.",
    )
    # Who is correcting it, and until when jobs and others leave it alone. See LEASE.
    editing_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, db_index=False, related_name="+"
    )
    editing_until = models.DateTimeField(null=True)

    objects = RetailTransactionQuerySet.as_manager()

    class Meta:
        db_table = "retail_transaction"
        constraints = [
            models.UniqueConstraint(
                fields=["transaction_id", "channel"], name="a_transaction_is_kept_once"
            ),
            # A copied till may send the same sale through another channel. Stores of their own may
            # use the same numbers, so the number is unique per store. Without a store number the
            # content tells whether it is the same sale.
            models.UniqueConstraint(
                fields=["transaction_id", "store_number", "company"],
                condition=Q(shares_number=False, store_number__isnull=False),
                name="a_number_of_a_store_is_one_transaction",
            ),
            models.UniqueConstraint(
                fields=["transaction_id", "content_hash", "company"],
                condition=Q(shares_number=False, store_number__isnull=True),
                name="a_storeless_transaction_is_kept_once",
            ),
            models.UniqueConstraint(
                fields=["channel", "confirmation_number"],
                condition=Q(transaction_type=TransactionType.CUSTOMER_ORDER),
                name="a_confirmation_number_is_one_order",
            ),
            models.CheckConstraint(
                condition=Q(transaction_type__in=TransactionType.values),
                name="transaction_type_is_known",
            ),
            models.CheckConstraint(
                condition=Q(entry_status__in=EntryStatus.values), name="entry_status_is_known"
            ),
            models.CheckConstraint(
                condition=Q(validation_status__in=ValidationStatus.values),
                name="validation_status_is_known",
            ),
            models.CheckConstraint(
                condition=Q(order_status__in=OrderStatus.values), name="order_status_is_known"
            ),
            models.CheckConstraint(
                condition=Q(origin=Origin.TILL, database__isnull=False)
                | Q(origin=Origin.HQ, database__isnull=True, corrects__isnull=False),
                name="a_transaction_comes_from_somewhere",
            ),
            # No sale is posted without an account.
            models.CheckConstraint(
                condition=Q(sales_order__isnull=True) | Q(customer__isnull=False),
                name="what_is_ordered_has_an_account",
            ),
            models.CheckConstraint(
                condition=~Q(order_status=OrderStatus.SUCCEEDED) | Q(sales_order__isnull=False),
                name="a_succeeded_order_exists",
            ),
            # A customer order without a sales order always has a reason.
            models.CheckConstraint(
                condition=~Q(transaction_type=TransactionType.CUSTOMER_ORDER)
                | ~Q(entry_status=EntryStatus.CONCLUDED)
                | Q(sales_order__isnull=False)
                | (Q(order_reason__isnull=False) & ~Q(order_reason="")),
                name="an_order_that_waits_says_why",
            ),
            # Views read the sales and the prepayments of statements one after the other.
            models.CheckConstraint(
                condition=Q(statement__isnull=True) | Q(prepayment_statement__isnull=True),
                name="a_sale_is_no_prepayment",
            ),
        ]
        indexes = [
            # Transactions that arrived on a day. Rows are stored in this order, so BRIN is enough.
            BrinIndex(fields=["staged_at"], name="transaction_arrived"),
            # Open sales and open prepayments of a day, for validation and posting.
            models.Index(
                fields=["channel", "business_date"],
                condition=Q(statement__isnull=True, sales_order__isnull=True),
                name="transaction_open",
            ),
            models.Index(
                fields=["channel", "business_date"],
                condition=~Q(payment_amount=0)
                & Q(
                    transaction_type=TransactionType.CUSTOMER_ORDER,
                    prepayment_statement__isnull=True,
                ),
                name="prepayment_open",
            ),
            # Orders that were not paid, or whose deposits were given back, for what is excluded.
            models.Index(
                fields=["channel", "business_date"],
                condition=Q(
                    transaction_type=TransactionType.CUSTOMER_ORDER,
                    prepayment_statement__isnull=True,
                    payment_amount=0,
                ),
                name="order_without_payment",
            ),
            models.Index(
                fields=["prepayment_statement"],
                condition=Q(prepayment_statement__isnull=False),
                name="prepayment_of_statement",
            ),
            # The list, newest first, of a channel, of a business date, and by what few have.
            models.Index(fields=["channel", "id"], name="transaction_of_channel"),
            models.Index(fields=["business_date", "id"], name="transaction_of_day"),
            models.Index(
                fields=["id"],
                condition=Q(sales_order__isnull=True, entry_status=EntryStatus.CONCLUDED),
                name="transaction_not_posted",
            ),
            models.Index(
                fields=["id"],
                condition=Q(entry_status=EntryStatus.VOIDED),
                name="transaction_voided",
            ),
            models.Index(
                fields=["validation_status", "id"],
                condition=Q(validation_status__in=[ValidationStatus.NONE, ValidationStatus.ERROR]),
                name="transaction_not_valid",
            ),
            models.Index(
                fields=["order_status", "id"],
                condition=Q(order_status__in=[OrderStatus.FAILED, OrderStatus.EDITING]),
                name="order_failed",
            ),
            models.Index(
                fields=["order_reason", "id"],
                condition=Q(order_reason__isnull=False),
                name="order_waiting",
            ),
            models.Index(
                fields=["async_account"],
                condition=Q(async_account__isnull=False),
                name="transaction_of_guid",
            ),
            models.Index(
                fields=["customer", "-id"],
                condition=Q(customer__isnull=False),
                name="transaction_of_customer",
            ),
            models.Index(
                fields=["receipt_number"],
                condition=Q(receipt_number__isnull=False),
                name="transaction_receipt",
            ),
            models.Index(
                fields=["confirmation_number"],
                condition=Q(confirmation_number__isnull=False),
                name="transaction_confirmation",
            ),
        ]
        permissions = [("mend_transaction", "Can correct transactions")]

    def __str__(self) -> str:
        return self.transaction_id

    def get_absolute_url(self) -> str:
        return reverse("transaction", args=[self.pk])

    @property
    def is_being_corrected(self) -> bool:
        """Whether a person holds a lease on it, which keeps away jobs and other people."""
        now = timezone.now()
        return self.editing_until is not None and now <= self.editing_until <= now + LONGEST_LEASE


class RetailTransactionLine(models.Model):
    """An item sold or returned. A voided line counts for nothing."""

    pk = models.CompositePrimaryKey("transaction_id", "line_number")
    transaction = models.ForeignKey(
        RetailTransaction, models.PROTECT, db_index=False, related_name="lines"
    )
    line_number = models.IntegerField()
    item_id = models.CharField(max_length=20, null=True)
    description = models.CharField(max_length=120, null=True)
    quantity = MoneyField(null=True)
    unit = models.CharField(max_length=10, null=True)
    price = MoneyField(null=True)
    discount_amount = MoneyField(null=True)
    tax_amount = MoneyField(null=True)
    net_amount = MoneyField(null=True)
    is_voided = models.BooleanField(null=True)

    class Meta:
        db_table = "retail_transaction_line"
        ordering = ["transaction", "line_number"]

    def __str__(self) -> str:
        return str(self.line_number)


class RetailTransactionPayment(models.Model):
    """A payment with one tender. Change that was given back is negative."""

    pk = models.CompositePrimaryKey("transaction_id", "line_number")
    transaction = models.ForeignKey(
        RetailTransaction, models.PROTECT, db_index=False, related_name="payments"
    )
    line_number = models.IntegerField()
    tender_type = models.CharField(max_length=20)
    amount = MoneyField()
    currency = models.CharField(max_length=3)

    class Meta:
        db_table = "retail_transaction_payment"
        ordering = ["transaction", "line_number"]

    def __str__(self) -> str:
        return str(self.line_number)


class TransactionError(models.Model):
    """A rule that a transaction breaks, which keeps it out of orders and statements.

    Each validation replaces the errors of a transaction.
    """

    id = models.BigAutoField(primary_key=True)
    transaction = models.ForeignKey(RetailTransaction, models.PROTECT, related_name="errors")
    rule = models.CharField(max_length=40)
    field = models.CharField(max_length=40)
    line_number = models.IntegerField(null=True)
    expected = models.CharField(max_length=60, blank=True)
    found = models.CharField(max_length=60, blank=True)

    class Meta:
        db_table = "transaction_error"
        ordering = ["transaction", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["transaction", "rule", "field", "line_number"],
                nulls_distinct=False,
                name="a_rule_is_broken_once_a_field",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.transaction_id} {self.rule}"


class TransactionChange(models.Model):
    """A change that a person made in one field of a transaction. A trigger keeps it for ever."""

    id = models.BigAutoField(primary_key=True)
    transaction = models.ForeignKey(RetailTransaction, models.PROTECT, related_name="changes")
    line_number = models.IntegerField(null=True)
    field = models.CharField(max_length=40)
    old = models.TextField(null=True)
    new = models.TextField(null=True)
    reason = models.CharField(max_length=300)
    changed_at = models.DateTimeField(db_default=Now())
    changed_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    # The bulk correction that it belongs to, which can be undone as a whole.
    correction = models.UUIDField(null=True)

    class Meta:
        db_table = "transaction_change"
        ordering = ["-id"]
        indexes = [
            models.Index(
                fields=["correction", "transaction"],
                condition=Q(correction__isnull=False),
                name="changes_of_a_correction",
            ),
        ]
        constraints = [
            models.CheckConstraint(condition=~Q(reason=""), name="a_change_has_a_reason"),
            models.CheckConstraint(
                condition=~Q(old=F("new")) | Q(old__isnull=True) | Q(new__isnull=True),
                name="a_change_changes_something",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.transaction_id} {self.field}"


class IncompleteDocument(models.Model):
    """A header that arrived without all of its lines, and when HQ first saw it.

    It goes when the lines have arrived, or when the header is quarantined for lack of them.
    """

    pk = models.CompositePrimaryKey("database_id", "event_id")
    database = models.ForeignKey(
        "ChannelDatabase", models.PROTECT, db_index=False, related_name="incomplete_documents"
    )
    event_id = models.UUIDField()
    first_seen_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "incomplete_document"

    def __str__(self) -> str:
        return str(self.event_id)
