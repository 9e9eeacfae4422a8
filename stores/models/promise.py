"""The result of the last check of each invariant."""

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from stores.messages.field import MessageField


class Promise(models.Model):
    """One invariant of Syncline, with the result of the last run that checked it.

    Each check overwrites it. An invariant that is no longer in the catalogue is deleted.
    """

    # The code that `verify` prints: I1, I2, ….
    id = models.CharField(max_length=8, primary_key=True)
    position = models.PositiveIntegerField(help_text="Its place in the catalogue.")
    title = MessageField()
    # Whether it holds.
    ok = models.BooleanField()
    checked = models.BigIntegerField(help_text="How many rows were looked at.")
    late = models.BigIntegerField(
        db_default=0, help_text="Rows that are still under way, which is no breach."
    )
    # Keys and counts, but no personal data.
    offending = models.JSONField(default=list, encoder=DjangoJSONEncoder)
    checked_at = models.DateTimeField()
    broken_since = models.DateTimeField(null=True)
    run = models.ForeignKey("JobRun", models.SET_NULL, null=True, related_name="+")

    class Meta:
        db_table = "promise"
        ordering = ["position"]

    def __str__(self) -> str:
        return self.id
