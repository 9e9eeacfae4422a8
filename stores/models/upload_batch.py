"""Batches of staged events: the unit in which conversion applies them."""

from typing import Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from stores.models.reference import Reference


class UploadBatchQuerySet(models.QuerySet["UploadBatch"]):
    def unconverted(self) -> Self:
        return self.filter(converted_at__isnull=True)


class UploadBatch(models.Model):
    """The events that one transaction staged, of all tables, from one channel database.

    A batch without a session was not uploaded: its events were made at HQ, sent to the real-time
    service, or released from quarantine. Conversion takes whole batches, and marks the batch
    instead of its events.
    """

    id = models.BigAutoField(primary_key=True)
    company = Reference("Company")
    database = Reference("ChannelDatabase", null=True)
    session = Reference("UploadSession", null=True)
    number = models.PositiveIntegerField(
        db_default=1, help_text="Place among the batches of its session."
    )
    rows = models.PositiveIntegerField(db_default=0)
    staged_at = models.DateTimeField(db_default=Now())
    converted_at = models.DateTimeField(null=True)
    run = Reference("JobRun", null=True)

    objects = UploadBatchQuerySet.as_manager()

    class Meta:
        db_table = "upload_batch"
        verbose_name_plural = "upload batches"
        constraints = [
            models.CheckConstraint(
                condition=Q(run__isnull=True) | Q(converted_at__isnull=False),
                name="only_a_converted_batch_has_a_run",
            ),
        ]
        indexes = [
            # What conversion takes next, of one company.
            models.Index(
                fields=["company", "id"],
                condition=Q(converted_at__isnull=True),
                name="upload_batch_unconverted",
            ),
            # The batches of an upload session.
            models.Index(
                fields=["session"],
                condition=Q(session__isnull=False),
                name="upload_batch_session",
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)
