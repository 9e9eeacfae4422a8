"""Sales, returns and customer orders as tills wrote them, and how far each has come in HQ.

A header travels with its lines and payments as one document and shares their fate.
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

# Why an order has no sales order as long as nobody has tried to make one.
NOT_ORDERED = "not_ordered"
# What the contract gives an amount of money, a price or a quantity.
DIGITS, PLACES = 18, 4
# How long a person who corrects a document keeps it from jobs and other people.
LEASE = timedelta(minutes=15)
# What is held for longer was taken by a clock that has been set back since: the lease is over.
LONGEST_LEASE = 2 * LEASE
# True of a transaction t that a person is correcting; as the view excluded_sale says it.
BEING_CORRECTED = f"""coalesce(t.editing_until BETWEEN now()
                      AND now() + interval '{LONGEST_LEASE.seconds} seconds', false)"""


class MoneyField(models.DecimalField):  # type: ignore[type-arg]
    """An exact amount in its document's currency, or a quantity."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **{"max_digits": DIGITS, "decimal_places": PLACES} | options)  # type: ignore[arg-type]


class TransactionType(models.TextChoices):
    SALE = "sale", "Sale"
    RETURN = "return", "Return"
    CUSTOMER_ORDER = "customer_order", "Customer order"


class EntryStatus(models.TextChoices):
    CONCLUDED = "concluded", "Concluded"
    VOIDED = "voided", "Voided"


class ValidationStatus(models.TextChoices):
    NONE = "none", "Not validated"
    SUCCESSFUL = "successful", "Successful"
    ERROR = "error", "Error"


class OrderStatus(models.TextChoices):
    NONE = "none", "None"
    FAILED = "failed", "Failed"
    SUCCEEDED = "succeeded", "Succeeded"
    EDITING = "editing", "Editing"


def being_corrected(prefix: str = "") -> Q:
    """Transactions that a person is correcting; of rows that have one, by its name and `__`."""
    return Q(**{f"{prefix}editing_until__range": (Now(), Now() + LONGEST_LEASE)})


class RetailTransactionQuerySet(models.QuerySet["RetailTransaction"]):
    def newest_first(self) -> Self:
        return self.order_by("-pk")

    def sold(self) -> Self:
        """Sales and returns that were not voided: what a statement is about."""
        return self.filter(
            transaction_type__in=[TransactionType.SALE, TransactionType.RETURN],
            entry_status=EntryStatus.CONCLUDED,
        )

    def orders(self) -> Self:
        return self.filter(
            transaction_type=TransactionType.CUSTOMER_ORDER, entry_status=EntryStatus.CONCLUDED
        )

    def orders_numbered(self, number: str, channels: Sequence[str] = ()) -> Self:
        """Customer orders of a confirmation number, in the channels of these codes or in any."""
        orders = self.orders().filter(confirmation_number=number)
        return orders.filter(channel__code__in=channels) if channels else orders


class RetailTransaction(models.Model):
    """One document of a till. What the till wrote stays as it is, unless a person corrects it."""

    id = models.BigAutoField(primary_key=True)
    event_id = models.UUIDField(unique=True)
    origin = models.CharField(max_length=4, choices=Origin.choices, db_default=Origin.TILL)
    database = models.ForeignKey(
        "ChannelDatabase", models.PROTECT, null=True, db_index=False, related_name="transactions"
    )
    channel = models.ForeignKey("Channel", models.PROTECT, related_name="transactions")
    company = models.ForeignKey("Company", models.PROTECT, db_index=False, related_name="+")
    generation = models.IntegerField(db_default=1)
    replication_counter = models.BigIntegerField()
    occurred_at = models.DateTimeField()
    async_account = models.UUIDField(null=True)
    account_number = models.CharField(max_length=20, null=True)
    staff_id = models.CharField(max_length=25, null=True)
    terminal_id = models.CharField(max_length=10, null=True)
    created_offline = models.BooleanField(null=True)
    # None: made in HQ, or released from quarantine, whose row names the session that brought it.
    session = models.ForeignKey(
        "UploadSession", models.PROTECT, null=True, db_index=False, related_name="transactions"
    )
    # A correction made in HQ: by whom, and the number of the quarantined row in whose place it is.
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, db_index=False, related_name="+"
    )
    corrects = models.CharField(max_length=36, null=True)
    staged_at = models.DateTimeField(db_default=Now())
    content_hash = models.BinaryField(max_length=32)

    transaction_id = models.CharField(max_length=44)
    transaction_type = models.CharField(max_length=14, choices=TransactionType.choices)
    entry_status = models.CharField(max_length=9, choices=EntryStatus.choices)
    confirmation_number = models.CharField(max_length=50, null=True)
    # The store's day: the till's, or where it named none the one of the store's own rule.
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

    # Whom it is for, once that is known: an account, never a GUID.
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
    # The statement of the day on which a customer order's payments were taken; the order itself is
    # in none.
    prepayment_statement = models.ForeignKey(
        "Statement", models.PROTECT, null=True, db_index=False, related_name="prepaid_orders"
    )
    is_mended = models.BooleanField(db_default=False, help_text="A person has changed it.")
    shares_number = models.BooleanField(
        db_default=False, help_text="A person found that it is not another channel's of its number."
    )
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
            # A copied till sells on in another channel; stores that merely number alike are apart.
            # What says the same names the same store, so only the storeless are told by content.
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
            # No sale is ever posted under a temporary identity.
            models.CheckConstraint(
                condition=Q(sales_order__isnull=True) | Q(customer__isnull=False),
                name="what_is_ordered_has_an_account",
            ),
            models.CheckConstraint(
                condition=~Q(order_status=OrderStatus.SUCCEEDED) | Q(sales_order__isnull=False),
                name="a_succeeded_order_exists",
            ),
            # An order that waits or failed says why, from its arrival on.
            models.CheckConstraint(
                condition=~Q(transaction_type=TransactionType.CUSTOMER_ORDER)
                | ~Q(entry_status=EntryStatus.CONCLUDED)
                | Q(sales_order__isnull=False)
                | (Q(order_reason__isnull=False) & ~Q(order_reason="")),
                name="an_order_that_waits_says_why",
            ),
        ]
        indexes = [
            # What arrived on a day: in that order, and almost free.
            BrinIndex(fields=["staged_at"], name="transaction_arrived"),
            # What validation and the two ways of posting look for.
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
            models.Index(
                fields=["prepayment_statement"],
                condition=Q(prepayment_statement__isnull=False),
                name="prepayment_of_statement",
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
        ]
        permissions = [("mend_transaction", "Can correct transactions")]

    def __str__(self) -> str:
        return self.transaction_id

    def get_absolute_url(self) -> str:
        return reverse("transaction", args=[self.pk])

    @property
    def is_being_corrected(self) -> bool:
        """Whether a person keeps it from jobs and other people now."""
        now = timezone.now()
        return self.editing_until is not None and now <= self.editing_until <= now + LONGEST_LEASE


class RetailTransactionLine(models.Model):
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
    """What was paid with one tender; change given back is negative."""

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
    """One rule that a transaction breaks: why it is kept out of orders and statements."""

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
    """What a person changed in a transaction, with both values and why. Never changed itself."""

    id = models.BigAutoField(primary_key=True)
    transaction = models.ForeignKey(RetailTransaction, models.PROTECT, related_name="changes")
    line_number = models.IntegerField(null=True)
    field = models.CharField(max_length=40)
    old = models.TextField(null=True)
    new = models.TextField(null=True)
    reason = models.CharField(max_length=300)
    changed_at = models.DateTimeField(db_default=Now())
    changed_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    # What was corrected at once, and can be undone so.
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
    """A header whose announced lines are not all there yet, and since when HQ knows of it."""

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
