"""What HQ knows of the settings that channel databases hold."""

from django.db import models
from django.db.models import Q

from stores.models.channel import ChannelDatabase
from stores.models.job import CONFIGURATION_JOBS


class DistributedSettings(models.Model):
    """The settings that a channel database held when a job last visited it, by their keys.

    A copy: the database says so itself, in its table channel_setting.
    """

    id = models.BigAutoField(primary_key=True)
    database = models.ForeignKey(
        ChannelDatabase, models.CASCADE, related_name="distributed_settings"
    )
    job = models.CharField(max_length=10)
    settings = models.JSONField(default=dict)
    confirmed_at = models.DateTimeField()

    class Meta:
        db_table = "distributed_settings"
        constraints = [
            models.UniqueConstraint(
                fields=["database", "job"], name="settings_are_noted_once_for_a_database"
            ),
            models.CheckConstraint(
                condition=Q(job__in=[job.value for job in CONFIGURATION_JOBS]),
                name="configuration_job_is_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.database_id} {self.job}"
