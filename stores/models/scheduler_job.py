"""What an administrator sets for a job that sends something to channels."""

from django.db import models
from django.db.models import Q

from stores.models.job import SENDING_JOBS, JobCode


class SchedulerJobQuerySet(models.QuerySet["SchedulerJob"]):
    def restore_missing(self) -> list["SchedulerJob"]:
        """Add a row for each job that has none. Returns the new ones."""
        known = set(self.values_list("job", flat=True))
        return self.bulk_create(SchedulerJob(job=job) for job in SENDING_JOBS if job not in known)


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

    objects = SchedulerJobQuerySet.as_manager()

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


class ExcludedDatabaseQuerySet(models.QuerySet["ExcludedDatabase"]):
    def from_job(self, job: JobCode) -> set[int]:
        """Return the ids of the databases to which a job sends nothing."""
        return set(self.filter(job=job).values_list("database__pk", flat=True))


class ExcludedDatabase(models.Model):
    """A row of the view excluded_database: a register's database to which a job sends nothing."""

    pk = models.CompositePrimaryKey("database_id", "job")
    database = models.ForeignKey("ChannelDatabase", models.DO_NOTHING, related_name="exclusions")
    job = models.CharField(max_length=10)

    objects = ExcludedDatabaseQuerySet.as_manager()

    class Meta:
        db_table = "excluded_database"
        managed = False
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.database_id} {self.job}"
