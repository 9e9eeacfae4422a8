"""The differences that a comparison of HQ with a channel has found."""

from django.db import models


class DifferenceKind(models.TextChoices):
    """The kinds of differences. A label follows a number, as in "3 gone from the channel"."""

    UNKNOWN = "unknown_at_hq", "acknowledged and unknown to headquarters"
    VANISHED = "gone_from_channel", "gone from the channel"
    CHANGED = "changed", "events with other content than headquarters holds"
    STRAY = "without_header", "sales of which only lines or payments are there"
    FOREIGN = "foreign_account", "accounts that headquarters did not give"
    NOT_ARRIVED = "not_arrived", "customers that did not arrive"
    DIFFERENT = "different", "rows of customers with other content than headquarters sent"
    NOT_SENT = "not_sent", "rows of customers that headquarters did not send"


class Difference(models.Model):
    """One row that differs. `key` is the id of an event, a GUID or an account number.

    Comparing a channel with HQ writes it, and it goes with the run that found it.
    """

    id = models.BigAutoField(primary_key=True)
    step = models.ForeignKey("RunStep", models.CASCADE, related_name="differences")
    what = models.CharField(max_length=20, choices=DifferenceKind.choices)
    table = models.CharField(max_length=40)
    key = models.CharField(max_length=60)

    class Meta:
        db_table = "difference"
        ordering = ["id"]

    def __str__(self) -> str:
        return f"{self.what} {self.table} {self.key}"
