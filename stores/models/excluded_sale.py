"""Sales that no posted statement holds, each with the reason."""

from typing import Any, Self

from django.db import models
from django.db.models import Count, Sum

from stores.models.transaction import EntryStatus, MoneyField


class ExcludedSaleQuerySet(models.QuerySet["ExcludedSale"]):
    def for_good(self) -> Self:
        """Voided at the till: no statement will ever take them."""
        return self.filter(reason=EntryStatus.VOIDED)

    def by_reason(self, *by: str) -> models.QuerySet[Any, Any]:
        """One row for each reason and currency, and for what else is named; the most first."""
        names = [name.lstrip("-") for name in by]
        grouped = self.order_by().values(*names, "reason", "field", "currency")
        counted: models.QuerySet[Any, Any] = grouped.annotate(
            sales=Count("pk"), total=Sum("gross_amount")
        )
        return counted.order_by(*by, "-sales", "reason", "field", "currency")


class ExcludedSale(models.Model):
    """One row of the view excluded_sale: a sale, return or prepaid order, and why it is out.

    The reason is empty only when nothing says why, which breaks invariant I24.
    """

    transaction = models.OneToOneField(
        "RetailTransaction", models.DO_NOTHING, primary_key=True, related_name="exclusion"
    )
    channel = models.ForeignKey("Channel", models.DO_NOTHING, related_name="excluded_sales")
    business_date = models.DateField()
    currency = models.CharField(max_length=3)
    gross_amount = MoneyField()
    reason = models.CharField(max_length=40)
    field = models.CharField(max_length=40)

    objects = ExcludedSaleQuerySet.as_manager()

    class Meta:
        managed = False
        db_table = "excluded_sale"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.transaction_id} {self.reason}"
