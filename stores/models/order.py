"""Sales orders: one for each customer order of a till, and those that statements make of sales."""

from typing import TYPE_CHECKING, Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.urls import reverse

from stores.models.transaction import MoneyField

if TYPE_CHECKING:
    from stores.models.statement import Statement


class OrderSequence(models.Model):
    """Where a company's order and invoice numbers come from; neither ever falls."""

    company = models.OneToOneField("Company", models.PROTECT, primary_key=True)
    order_format = models.CharField(max_length=20, default="SO-######")
    invoice_format = models.CharField(max_length=20, default="INV-######")
    next_order = models.BigIntegerField(default=1)
    next_invoice = models.BigIntegerField(default=1)

    class Meta:
        db_table = "order_sequence"

    def __str__(self) -> str:
        return f"{self.company_id} {self.order_format}"


class SalesOrderState(models.TextChoices):
    """Allowed steps: on_hold -> open -> invoiced, open -> on_hold; a trigger refuses others.

    An order of a statement that is not posted yet may be cancelled with it; its numbers stay.
    """

    OPEN = "open", "Open"
    ON_HOLD = "on_hold", "On hold"
    INVOICED = "invoiced", "Invoiced"
    CANCELLED = "cancelled", "Cancelled"


class SalesOrderQuerySet(models.QuerySet["SalesOrder"]):
    def newest_first(self) -> Self:
        return self.order_by("-pk")


class SalesOrder(models.Model):
    """An order of one account. Its lines are those of its transactions."""

    id = models.BigAutoField(primary_key=True)
    company = models.ForeignKey("Company", models.PROTECT, db_index=False, related_name="+")
    channel = models.ForeignKey("Channel", models.PROTECT, related_name="sales_orders")
    number = models.CharField(max_length=20)
    invoice_number = models.CharField(max_length=20, null=True)
    confirmation_number = models.CharField(
        max_length=50, null=True, help_text="The till's own; none on an order of a statement."
    )
    statement = models.ForeignKey(
        "Statement", models.PROTECT, null=True, related_name="sales_orders"
    )
    customer = models.ForeignKey("Customer", models.PROTECT, related_name="sales_orders")
    delivery_address = models.ForeignKey(
        "CustomerAddress", models.PROTECT, null=True, db_index=False, related_name="+"
    )
    delivery_mode = models.CharField(max_length=10, null=True)
    business_date = models.DateField()
    currency = models.CharField(max_length=3)
    net_amount = MoneyField()
    tax_amount = MoneyField()
    gross_amount = MoneyField()
    discount_amount = MoneyField()
    state = models.CharField(
        max_length=9, choices=SalesOrderState.choices, db_default=SalesOrderState.OPEN
    )
    hold_code = models.CharField(max_length=20, null=True)
    released_at = models.DateTimeField(null=True)
    released_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, db_index=False, related_name="+"
    )
    run = models.ForeignKey(
        "JobRun", models.PROTECT, null=True, db_index=False, related_name="sales_orders"
    )
    created_at = models.DateTimeField(db_default=Now())
    invoiced_at = models.DateTimeField(null=True)

    objects = SalesOrderQuerySet.as_manager()

    class Meta:
        db_table = "sales_order"
        constraints = [
            models.UniqueConstraint(
                fields=["company", "number"], name="an_order_number_is_issued_once"
            ),
            models.UniqueConstraint(
                fields=["company", "invoice_number"], name="an_invoice_number_is_issued_once"
            ),
            models.UniqueConstraint(
                fields=["channel", "confirmation_number"],
                condition=Q(confirmation_number__isnull=False),
                name="one_order_per_confirmation_number",
            ),
            models.UniqueConstraint(
                fields=["statement", "customer", "currency"],
                condition=Q(statement__isnull=False),
                name="one_order_per_customer_of_a_statement",
            ),
            models.CheckConstraint(
                condition=Q(state__in=SalesOrderState.values), name="sales_order_state_is_known"
            ),
            models.CheckConstraint(
                condition=~Q(state=SalesOrderState.ON_HOLD) | Q(hold_code__isnull=False),
                name="a_held_order_has_its_code",
            ),
            models.CheckConstraint(
                condition=Q(invoice_number__isnull=True)
                | Q(state__in=[SalesOrderState.INVOICED, SalesOrderState.CANCELLED]),
                name="an_invoice_belongs_to_an_invoiced_order",
            ),
        ]
        indexes = [
            # What waits for a person.
            models.Index(fields=["id"], condition=Q(state="on_hold"), name="order_on_hold"),
        ]
        permissions = [("release_hold", "Can release orders on hold")]

    def __str__(self) -> str:
        return self.number

    def get_absolute_url(self) -> str:
        return reverse("order", args=[self.pk])

    def release(self, by: object) -> bool:
        """Lift the hold. Says whether the order was on hold."""
        orders = SalesOrder.objects.filter(pk=self.pk, state=SalesOrderState.ON_HOLD)
        return bool(orders.update(state=SalesOrderState.OPEN, released_at=Now(), released_by=by))


class PaymentKind(models.TextChoices):
    PAYMENT = "payment", "Payment"
    PREPAYMENT = "prepayment", "Prepayment"
    ROUNDING_DIFFERENCE = "rounding_difference", "Rounding difference"
    PAYMENT_DIFFERENCE = "payment_difference", "Payment difference"


class PostedPaymentQuerySet(models.QuerySet["PostedPayment"]):
    def differences_of(self, statement: "Statement") -> models.QuerySet[Any, Any]:
        """One row for each kind of difference and currency: how many sales, and what they lack."""
        kinds = [PaymentKind.ROUNDING_DIFFERENCE, PaymentKind.PAYMENT_DIFFERENCE]
        grouped = self.filter(statement=statement, kind__in=kinds).values("kind", "currency")
        differences: models.QuerySet[Any, Any] = grouped.annotate(
            sales=models.Sum("count"), total=models.Sum("amount")
        )
        return differences.order_by("-kind", "currency")


class PostedPayment(models.Model):
    """What a statement posted as paid: by whom, for which order, in which tender and currency.

    A prepayment names the document of the till, because its sales order may come later. A
    difference is what an order's sales came to beyond what was paid, in no tender.
    """

    id = models.BigAutoField(primary_key=True)
    statement = models.ForeignKey("Statement", models.PROTECT, related_name="payments")
    kind = models.CharField(
        max_length=19, choices=PaymentKind.choices, db_default=PaymentKind.PAYMENT
    )
    customer = models.ForeignKey("Customer", models.PROTECT, db_index=False, related_name="+")
    sales_order = models.ForeignKey(SalesOrder, models.PROTECT, null=True, related_name="payments")
    transaction = models.ForeignKey(
        "RetailTransaction", models.PROTECT, null=True, db_index=False, related_name="prepayments"
    )
    tender_type = models.CharField(max_length=20, blank=True)
    currency = models.CharField(max_length=3)
    amount = MoneyField()
    count = models.PositiveIntegerField(help_text="Payment lines in it.")

    objects = PostedPaymentQuerySet.as_manager()

    class Meta:
        db_table = "posted_payment"
        constraints = [
            models.UniqueConstraint(
                fields=["sales_order", "kind", "tender_type", "currency"],
                condition=Q(sales_order__isnull=False),
                name="a_tender_is_posted_once_an_order",
            ),
            models.UniqueConstraint(
                fields=["transaction", "tender_type", "currency"],
                condition=Q(transaction__isnull=False),
                name="a_prepayment_is_posted_once",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=PaymentKind.values), name="payment_kind_is_known"
            ),
            models.CheckConstraint(
                condition=Q(
                    kind=PaymentKind.PREPAYMENT,
                    transaction__isnull=False,
                    sales_order__isnull=True,
                )
                | (
                    ~Q(kind=PaymentKind.PREPAYMENT)
                    & Q(transaction__isnull=True, sales_order__isnull=False)
                ),
                name="a_prepayment_names_the_till_s_document",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.sales_order_id} {self.tender_type} {self.currency}"
