"""The sequences from which companies number their sales orders and invoices."""

from django.db import models
from django.db.models import Q


class OrderSequence(models.Model):
    """The next order and invoice numbers of one company.

    They never decrease, which a trigger guards, so that no number is issued twice.
    """

    company = models.OneToOneField("Company", models.PROTECT, primary_key=True)
    order_format = models.CharField(max_length=20, default="SO-######")
    invoice_format = models.CharField(max_length=20, default="INV-######")
    next_order = models.BigIntegerField(default=1)
    next_invoice = models.BigIntegerField(default=1)

    class Meta:
        db_table = "order_sequence"
        constraints = [
            models.CheckConstraint(
                condition=Q(next_order__gte=1, next_invoice__gte=1),
                name="orders_and_invoices_are_numbered_from_one",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.company_id} {self.order_format}"
