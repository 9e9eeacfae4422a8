"""Nothing lost: what channels handed over on each day, and where it is now."""

from typing import Self

from django.db import models
from django.db.models import Q

from stores.models.reference import Reference


class Place(models.Model):
    """One channel database, one table of events, one day on which HQ took rows over (UTC)."""

    id = models.BigAutoField(primary_key=True)
    database = Reference("stores.ChannelDatabase")
    table = models.CharField(max_length=40)
    day = models.DateField()

    class Meta:
        abstract = True


class Arrival(Place):
    """How many rows were taken over; kept by triggers when rows are staged or quarantined."""

    rows = models.BigIntegerField(default=0)

    class Meta:
        db_table = "arrival"
        constraints = [
            models.UniqueConstraint(
                fields=["database", "table", "day"], name="arrivals_are_counted_once"
            ),
        ]
        indexes = [models.Index(fields=["-day"], name="arrival_newest")]

    def __str__(self) -> str:
        return f"{self.database_id} {self.table} {self.day}"


BALANCE_PARTS = (
    "converted",
    "linked",
    "posted",
    "voided",
    "waiting",
    "failed",
    "quarantined",
    "erased",
)


class BalanceParts(Place):
    """Where the rows are.

    converted: applied to the account of their customer, or replaced by a later one that was.
    linked: the same, of a GUID that was linked to an account that was there. posted: sales and
    orders that became a sales order; voided: those that never will. waiting, failed, quarantined,
    erased: what they say; quarantined also holds rows that were dismissed or replaced. Lines and
    payments are where their sale is.
    """

    captured = models.BigIntegerField(default=0)
    converted = models.BigIntegerField(default=0)
    linked = models.BigIntegerField(default=0)
    posted = models.BigIntegerField(db_default=0)
    voided = models.BigIntegerField(db_default=0)
    waiting = models.BigIntegerField(default=0)
    failed = models.BigIntegerField(default=0)
    quarantined = models.BigIntegerField(default=0)
    erased = models.BigIntegerField(default=0)
    counted_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True


class Balance(BalanceParts):
    """Where the rows of one day were when they were last counted, of those arrived by then."""

    class Meta:
        db_table = "balance"
        constraints = [
            models.UniqueConstraint(
                fields=["database", "table", "day"], name="a_day_is_balanced_once"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.database_id} {self.table} {self.day}"


class DayBalanceQuerySet(models.QuerySet["DayBalance"]):
    def unbalanced(self) -> Self:
        """Days on which rows are missing, or more are there than arrived."""
        return self.filter(~Q(difference=0))


class DayBalance(BalanceParts):
    """A view: the last count, and as waiting what arrived since; captured is all that arrived."""

    # Rows that arrived and are nowhere; negative: rows that nobody handed over.
    difference = models.BigIntegerField()

    objects = DayBalanceQuerySet.as_manager()

    class Meta:
        db_table = "day_balance"
        managed = False

    def __str__(self) -> str:
        return f"{self.database_id} {self.table} {self.day}"
