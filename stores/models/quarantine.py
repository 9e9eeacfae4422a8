"""Rows that HQ has taken over but cannot use: kept as they came, with the reason."""

from typing import Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class QuarantineStatus(models.TextChoices):
    OPEN = "open", "Open"
    RELEASED = "released", "Released"
    DISMISSED = "dismissed", "Dismissed"
    SUPERSEDED = "superseded", "Superseded"


class QuarantineQuerySet(models.QuerySet["Quarantine"]):
    def open(self) -> Self:
        """Rows that wait for a person."""
        return self.filter(status=QuarantineStatus.OPEN)

    def newest_first(self) -> Self:
        return self.order_by("-pk")


class Quarantine(models.Model):
    """One row of a channel table, lossless, that broke a rule on its way into HQ."""

    id = models.BigAutoField(primary_key=True)
    database = models.ForeignKey("ChannelDatabase", models.PROTECT, related_name="quarantine")
    table = models.CharField(max_length=40)
    row_key = models.CharField(max_length=80, help_text="The row's counter in its table.")
    event_id = models.UUIDField(null=True, db_index=True)
    async_account = models.UUIDField(null=True, db_index=True)
    payload_hash = models.BinaryField(max_length=32)
    reason = models.CharField(max_length=40)
    field = models.CharField(max_length=40, blank=True)
    raw = models.BinaryField()
    status = models.CharField(
        max_length=10, choices=QuarantineStatus.choices, db_default=QuarantineStatus.OPEN
    )
    attempts = models.PositiveIntegerField(db_default=1)
    session = models.ForeignKey("UploadSession", models.PROTECT, related_name="quarantine")
    first_seen_at = models.DateTimeField(db_default=Now())
    last_seen_at = models.DateTimeField(db_default=Now())

    objects = QuarantineQuerySet.as_manager()

    class Meta:
        db_table = "quarantine"
        constraints = [
            models.UniqueConstraint(
                fields=["database", "table", "row_key", "payload_hash"],
                name="a_bad_row_is_kept_once",
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="quarantine_has_a_reason"),
            models.CheckConstraint(
                condition=Q(status__in=QuarantineStatus.values), name="quarantine_status_is_known"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.table} {self.row_key}"
