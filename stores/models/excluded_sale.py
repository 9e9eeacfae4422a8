"""Sales that are in no posted statement, each with the reason."""

from typing import Any, Self

from django.db import models
from django.db.models import Count, Sum

from stores.models.transaction import EntryStatus, MoneyField


class ExcludedSaleQuerySet(models.QuerySet["ExcludedSale"]):
    def for_good(self) -> Self:
        """Sales that were voided at the till. No statement ever takes them."""
        return self.filter(reason=EntryStatus.VOIDED)

    def by_reason(self, *by: str) -> models.QuerySet[Any, Any]:
        """Count and sum by reason and currency, and by the fields `by`, which order the rows."""
        fields = [name.lstrip("-") for name in by]
        grouped = self.order_by().values(*fields, "reason", "field", "currency")
        counted: models.QuerySet[Any, Any] = grouped.annotate(
            sales=Count("pk"), total=Sum("gross_amount")
        )
        return counted.order_by(*by, "-sales", "reason", "field", "currency")


class ExcludedSale(models.Model):
    """One row of the view excluded_sale: a sale, return or prepaid order, and the reason.

    A sale leaves the view when its statement is posted. An empty reason is an error: `verify`
    checks that every sale outside posted statements has one (invariant I24).
    """

    transaction = models.OneToOneField(
        "RetailTransaction", models.DO_NOTHING, primary_key=True, related_name="exclusion"
    )
    channel = models.ForeignKey("Channel", models.DO_NOTHING, related_name="excluded_sales")
    business_date = models.DateField()
    currency = models.CharField(max_length=3)
    gross_amount = MoneyField()
    # One of stores.messages.reasons.REASONS or EntryStatus.VOIDED, and the column it is about.
    reason = models.CharField(max_length=40)
    field = models.CharField(max_length=40)

    objects = ExcludedSaleQuerySet.as_manager()

    class Meta:
        managed = False
        db_table = "excluded_sale"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.transaction_id} {self.reason}"
