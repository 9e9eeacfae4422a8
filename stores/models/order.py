"""Sales orders: what a customer has ordered or bought, as headquarters posts and invoices it.

A sales order is made in one of two ways. A *customer order* of a till becomes one sales order that
keeps the till's confirmation number. A *statement*, which posts the sales of a store's day, makes
one sales order of all sales to the same customer in the same currency.
"""

from typing import Any, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.urls import reverse

from stores.models.company import Company
from stores.models.search import found_by_any
from stores.models.transaction import MoneyField


class SalesOrderState(models.TextChoices):
    """Steps: open -> invoiced, and open <-> on_hold. A person has to release an order on hold.

    An open or invoiced order is cancelled if its statement is, which is possible until the
    statement's payments are posted. A trigger refuses all other steps.
    """

    OPEN = "open", "Open"
    ON_HOLD = "on_hold", "On hold"
    INVOICED = "invoiced", "Invoiced"
    CANCELLED = "cancelled", "Cancelled"


class SalesOrderQuerySet(models.QuerySet["SalesOrder"]):
    def newest_first(self) -> Self:
        return self.order_by("-pk")

    def numbered(self, number: str) -> Self:
        """Orders with this order number or invoice number."""
        # The unique indexes of both numbers begin with the company.
        orders = SalesOrder.objects.filter(company__in=Company.objects.all())
        return self.filter(
            found_by_any(orders.filter(number=number), orders.filter(invoice_number=number))
        )


class SalesOrder(models.Model):
    """One order of one customer.

    It has no lines of its own: they are those of the customer order, or of the sales, that it was
    made from. It is never deleted, and a cancelled order keeps its numbers, so that no number is
    missing or used twice.
    """

    id = models.BigAutoField(primary_key=True)
    # Keys without an index: those of the unique constraints begin with the company, and nothing
    # looks orders up by the others.
    company = models.ForeignKey("Company", models.PROTECT, db_index=False, related_name="+")
    channel = models.ForeignKey(
        "Channel", models.PROTECT, db_index=False, related_name="sales_orders"
    )
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
    # What the channel writes on orders that it puts on hold. It stays after the release.
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
                fields=["company", "invoice_number"],
                condition=Q(invoice_number__isnull=False),
                name="an_invoice_number_is_issued_once",
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
                condition=Q(confirmation_number__isnull=False, statement__isnull=True)
                | Q(confirmation_number__isnull=True, statement__isnull=False),
                name="an_order_is_of_a_till_or_of_a_statement",
            ),
            models.CheckConstraint(
                condition=~Q(state=SalesOrderState.ON_HOLD) | Q(hold_code__isnull=False),
                name="a_held_order_has_its_code",
            ),
            models.CheckConstraint(
                condition=Q(released_by__isnull=True, released_at__isnull=True)
                | Q(released_by__isnull=False, released_at__isnull=False),
                name="a_released_order_says_when_and_by_whom",
            ),
            models.CheckConstraint(
                condition=Q(invoice_number__isnull=True, invoiced_at__isnull=True)
                | Q(invoice_number__isnull=False, invoiced_at__isnull=False),
                name="an_invoice_has_a_number_and_a_time",
            ),
            # A cancelled order may have been invoiced before it was cancelled.
            models.CheckConstraint(
                condition=Q(state=SalesOrderState.INVOICED, invoice_number__isnull=False)
                | Q(state=SalesOrderState.CANCELLED)
                | Q(
                    ~Q(state__in=[SalesOrderState.INVOICED, SalesOrderState.CANCELLED]),
                    invoice_number__isnull=True,
                ),
                name="an_invoice_belongs_to_an_invoiced_order",
            ),
        ]
        indexes = [
            # The orders that a person has to release: the list by state, and its count.
            models.Index(
                fields=["id"], condition=Q(state=SalesOrderState.ON_HOLD), name="order_on_hold"
            ),
            models.Index(
                fields=["id"], condition=Q(state=SalesOrderState.CANCELLED), name="order_cancelled"
            ),
            models.Index(fields=["channel", "id"], name="order_of_channel"),
        ]
        permissions = [("release_hold", "Can release orders on hold")]

    def __str__(self) -> str:
        return self.number

    def get_absolute_url(self) -> str:
        return reverse("order", args=[self.pk])

    def release(self, by: Any) -> bool:
        """Lift the hold. Returns False if the order is not on hold any more.

        This instance keeps its old values.
        """
        on_hold = SalesOrder.objects.filter(pk=self.pk, state=SalesOrderState.ON_HOLD)
        return bool(on_hold.update(state=SalesOrderState.OPEN, released_at=Now(), released_by=by))
