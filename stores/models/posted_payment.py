"""Payments that a statement has posted, and the differences between payments and totals."""

from typing import TYPE_CHECKING, Any

from django.db import models
from django.db.models import Q

from stores.models.transaction import MoneyField

if TYPE_CHECKING:
    from stores.models.statement import Statement


class PaymentKind(models.TextChoices):
    PAYMENT = "payment", "Payment"
    PREPAYMENT = "prepayment", "Prepayment"
    ROUNDING_DIFFERENCE = "rounding_difference", "Rounding difference"
    PAYMENT_DIFFERENCE = "payment_difference", "Payment difference"


class PostedPaymentQuerySet(models.QuerySet["PostedPayment"]):
    def differences_of(self, statement: "Statement") -> models.QuerySet[Any, Any]:
        """One row for each currency and kind of difference: `sales`, their number, and `total`."""
        kinds = [PaymentKind.ROUNDING_DIFFERENCE, PaymentKind.PAYMENT_DIFFERENCE]
        return (
            self.filter(statement=statement, kind__in=kinds)
            .values("kind", "currency")
            .annotate(sales=models.Sum("count"), total=models.Sum("amount"))
            # Rounding before payment differences.
            .order_by("-kind", "currency")
        )


class PostedPayment(models.Model):
    """What was paid in one tender and currency: for a sales order, or as a prepayment.

    A prepayment refers to the till's customer order, because its sales order may be made later. A
    difference is the amount by which an order's sales exceed their payments; it has no tender.
    Posting a statement writes the rows, and nothing changes them.
    """

    id = models.BigAutoField(primary_key=True)
    statement = models.ForeignKey("Statement", models.PROTECT, related_name="payments")
    kind = models.CharField(
        max_length=19, choices=PaymentKind.choices, db_default=PaymentKind.PAYMENT
    )
    customer = models.ForeignKey("Customer", models.PROTECT, db_index=False, related_name="+")
    sales_order = models.ForeignKey(
        "SalesOrder", models.PROTECT, null=True, related_name="payments"
    )
    transaction = models.ForeignKey(
        "RetailTransaction", models.PROTECT, null=True, db_index=False, related_name="prepayments"
    )
    tender_type = models.CharField(max_length=20, blank=True)
    currency = models.CharField(max_length=3)
    amount = MoneyField()
    count = models.PositiveIntegerField(help_text="Payment lines in it; of a difference, sales.")

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
                name="only_a_prepayment_is_of_a_customer_order",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.tender_type} {self.currency}"
