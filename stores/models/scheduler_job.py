"""What an administrator sets for a job that sends something to channels."""

from django.db import models
from django.db.models import Q

from stores.models.job import SENDING_JOBS


class SchedulerJob(models.Model):
    """A job that sends something to channel databases, and whether offline registers get it.

    A job without a row sends it to all databases.
    """

    job = models.CharField(
        max_length=10,
        primary_key=True,
        choices=[(job.value, job.label) for job in SENDING_JOBS],
    )
    exclude_from_offline = models.BooleanField(
        "exclude from offline databases",
        default=False,
        help_text="On: the job leaves out the databases of registers.",
    )

    class Meta:
        db_table = "scheduler_job"
        ordering = ["job"]
        constraints = [
            models.CheckConstraint(
                condition=Q(job__in=[job.value for job in SENDING_JOBS]),
                name="sending_job_is_known",
            ),
        ]

    def __str__(self) -> str:
        return self.get_job_display()
