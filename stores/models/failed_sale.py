"""Failed transactions by cause: the rules they break, and the reasons why orders failed."""

from dataclasses import dataclass
from typing import Any, Self

from django.db import models
from django.db.models import Count, Max, Min

SALE_PARTS = ("header", "line", "payment")


@dataclass(frozen=True)
class SaleCause:
    """The common cause of failed transactions, written as REASON:FIELD:PART.

    PART is the part of the transaction with the field: header, line or payment.
    """

    reason: str
    field: str
    part: str

    def __str__(self) -> str:
        return f"{self.reason}:{self.field}:{self.part}"

    @classmethod
    def of(cls, row: dict[str, Any]) -> "SaleCause":
        """The cause of a row of FailedSaleQuerySet.by_cause()."""
        return cls(row["reason"], row["field"], row["part"])

    @classmethod
    def parse(cls, text: str) -> "SaleCause | None":
        """The cause that a text names, if it has the form of one."""
        parts = text.split(":")
        is_one = len(parts) == 3 and parts[2] in SALE_PARTS and "\0" not in text
        return cls(*parts) if is_one else None


class FailedSaleQuerySet(models.QuerySet["FailedSale"]):
    def with_cause(self, cause: SaleCause) -> Self:
        """The failures of one cause."""
        return self.filter(reason=cause.reason, field=cause.field, part=cause.part)

    def by_cause(self) -> models.QuerySet[Any, Any]:
        """One row for each cause: its fields, and how many sales of which days and channels."""
        grouped = self.order_by().values("reason", "field", "part")
        counted: models.QuerySet[Any, Any] = grouped.annotate(
            sales=Count("transaction", distinct=True),
            channels=Count("channel", distinct=True),
            oldest=Min("business_date"),
            newest=Max("business_date"),
        )
        return counted.order_by("-sales", "reason", "field", "part")


class FailedSale(models.Model):
    """One row of the view failed_sale: a broken rule, or the reason why an order failed.

    `expected` and `found` are what the rule compared; both are empty if it compares nothing.
    """

    id = models.CharField(primary_key=True, max_length=30)
    transaction = models.ForeignKey("RetailTransaction", models.DO_NOTHING, related_name="failures")
    channel = models.ForeignKey("Channel", models.DO_NOTHING, related_name="+")
    business_date = models.DateField()
    reason = models.CharField(max_length=40)
    field = models.CharField(max_length=40)
    part = models.CharField(max_length=7)
    line_number = models.IntegerField(null=True)
    expected = models.CharField(max_length=60)
    found = models.CharField(max_length=60)

    objects = FailedSaleQuerySet.as_manager()

    class Meta:
        managed = False
        db_table = "failed_sale"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.transaction_id} {self.reason}"
