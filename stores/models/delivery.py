"""Which channel database has which version of a customer, and which one is pending."""

from datetime import datetime
from typing import Self

from django.db import models
from django.db.models import F, Q

from stores.models.reference import Reference


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def pending(self) -> Self:
        """The database lacks the customer's present version."""
        return self.filter(delivered_version__lt=F("version"))


class Delivery(models.Model):
    """One customer to be delivered, or delivered, to one channel database.

    References are checked by one trigger per statement instead of one per row; neither customers
    nor databases are ever deleted.
    """

    pk = models.CompositePrimaryKey("database_id", "customer_id")
    database = Reference("ChannelDatabase", related_name="deliveries")
    customer = Reference("Customer", related_name="deliveries")
    version = models.BigIntegerField()
    delivered_version = models.BigIntegerField(db_default=0)
    delivered_at = models.DateTimeField(null=True)
    session = Reference("DownloadSession", null=True)

    # What was delivered before, oldest first, as [version, time, session]; null before the second
    # delivery, so that the first costs nothing.
    earlier = models.JSONField(null=True)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        db_table = "delivery"
        constraints = [
            models.CheckConstraint(
                condition=Q(delivered_version__gte=0, delivered_version__lte=F("version")),
                name="delivered_is_at_most_owed",
            ),
        ]
        indexes = [
            # What 1010 still has to send, in customer order.
            models.Index(
                fields=["database", "customer"],
                condition=Q(delivered_version__lt=F("version")),
                name="delivery_owed",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.database_id} {self.customer_id}"

    @property
    def known_since(self) -> datetime | None:
        return datetime.fromisoformat(self.earlier[0][1]) if self.earlier else self.delivered_at
