"""The balance of each day: how many rows channels sent, and where they are now."""

from typing import Self

from django.db import models

from stores.models.reference import Reference


class CountKey(models.Model):
    """The key of all counts: a channel database, an event table, and the day of arrival (UTC)."""

    id = models.BigAutoField(primary_key=True)
    database = Reference("stores.ChannelDatabase")
    table = models.CharField(max_length=40)
    day = models.DateField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.database_id} {self.table} {self.day}"


class Arrival(CountKey):
    """The number of rows that arrived. Triggers count them when they are staged or quarantined.

    A row is never deleted, and its number only grows.
    """

    rows = models.BigIntegerField(default=0)

    class Meta:
        db_table = "arrival"
        constraints = [
            models.UniqueConstraint(
                fields=["database", "table", "day"], name="arrivals_are_counted_once"
            ),
        ]
        indexes = [models.Index(fields=["-day"], name="arrival_newest")]


# The columns of BalanceParts that add up to `captured`.
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


class BalanceParts(CountKey):
    """The number of rows in each state, and `captured`, the number of rows that arrived.

    The other numbers should add up to `captured`. If they do not, rows are missing.

    converted
        Applied to the account of their customer, or superseded by a later event that was.
    linked
        The same, for a GUID that was linked to an existing account.
    posted, voided
        Sales and orders that became a sales order, and those that never will.
    waiting, failed
        Not applied yet, or they could not be applied.
    quarantined
        Rows in quarantine, also those that were dismissed or replaced since.
    erased
        Rows of customers whose data was erased.

    Lines and payments count with their sale.
    """

    captured = models.BigIntegerField(db_default=0)
    converted = models.BigIntegerField(db_default=0)
    linked = models.BigIntegerField(db_default=0)
    posted = models.BigIntegerField(db_default=0)
    voided = models.BigIntegerField(db_default=0)
    waiting = models.BigIntegerField(db_default=0)
    failed = models.BigIntegerField(db_default=0)
    quarantined = models.BigIntegerField(db_default=0)
    erased = models.BigIntegerField(db_default=0)
    # None: never counted.
    counted_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True


class Balance(BalanceParts):
    """The last count of a day, of the rows that had arrived by then. Runs count it again."""

    class Meta:
        db_table = "balance"
        constraints = [
            models.UniqueConstraint(
                fields=["database", "table", "day"], name="a_day_is_balanced_once"
            ),
        ]


class DayBalanceQuerySet(models.QuerySet["DayBalance"]):
    def unbalanced(self) -> Self:
        """Days with fewer or more rows than arrived."""
        return self.exclude(difference=0)


class DayBalance(BalanceParts):
    """A row of the view day_balance: the last count, with rows that arrived since as waiting.

    `captured` is the number of all rows that arrived.
    """

    # Rows that are missing. Negative: rows that no channel sent.
    difference = models.BigIntegerField()

    objects = DayBalanceQuerySet.as_manager()

    class Meta:
        db_table = "day_balance"
        managed = False
