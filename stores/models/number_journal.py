"""What HQ knows about things outside its database: the number journal and its own server."""

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class NumberJournal(models.Model):
    """How far HQ has read one number journal. The first line of the file has the id."""

    id = models.UUIDField(primary_key=True)
    size = models.BigIntegerField(db_default=0, help_text="Bytes up to which HQ knows every line.")
    # The hash of the last line before that. It differs if the file was replaced by another.
    last_hash = models.CharField(max_length=16, blank=True)
    # Company -> the first number that is not in the file.
    following = models.JSONField(default=dict)
    # Company -> "order" or "invoice" -> the highest number that is in the file.
    heights = models.JSONField(default=dict)
    followed_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "number_journal"

    def __str__(self) -> str:
        return str(self.id)


class Headquarters(models.Model):
    """The server and the database on which HQ last issued a number. There is one row.

    A conversion compares it with where it runs. If they differ, HQ was moved or restored, and an
    incident stops the issuing of numbers until every channel was visited.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    # The oid of the database, and the server's identifier and timeline where HQ may read them.
    identity = models.JSONField()
    noted_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "headquarters"
        constraints = [models.CheckConstraint(condition=Q(id=1), name="there_is_one_headquarters")]

    def __str__(self) -> str:
        return "headquarters"
