"""A new installation sends the channels their settings by itself.

One that has channels keeps the schedules it has: `schedules restore` adds what is missing.
"""

from django.db import migrations, models
from django.utils import timezone

from stores.hqdb.migration import QuickMigration

EVERY_MINUTES = 10
SENDING_SETTINGS = ("1070", "1110")
VISITS = [("all", "All"), ("ready", "Ready"), ("quick", "Quick"), ("slow", "Slow")]
SENDING = ("1010", *SENDING_SETTINGS)


def make_defaults(historical_apps, schema_editor):
    if historical_apps.get_model("stores", "Channel").objects.exists():
        return
    now = timezone.now()
    schedules = historical_apps.get_model("stores", "Schedule")
    for job in SENDING_SETTINGS:
        if not schedules.objects.filter(job=job).exists():
            schedules.objects.create(
                job=job, every_minutes=EVERY_MINUTES, planned_at=now, next_start_at=now
            )
    scheduler_jobs = historical_apps.get_model("stores", "SchedulerJob")
    for job in SENDING:
        scheduler_jobs.objects.get_or_create(job=job)


class Migration(QuickMigration):
    dependencies = [("stores", "0009_based_on")]

    operations = [
        migrations.RemoveConstraint(model_name="jobrun", name="visits_of_a_run_are_known"),
        migrations.AlterField(
            model_name="jobrun",
            name="visits",
            field=models.CharField(choices=VISITS, db_default="all", default="all", max_length=5),
        ),
        migrations.AddConstraint(
            model_name="jobrun",
            constraint=models.CheckConstraint(
                condition=models.Q(visits__in=[value for value, _ in VISITS]),
                name="visits_of_a_run_are_known",
            ),
        ),
        migrations.RunPython(make_defaults, migrations.RunPython.noop),
    ]
