"""Jobs that start once a day; the checks of every night are there from the beginning."""

from datetime import UTC, datetime, time

from django.db import migrations, models

NIGHTLY = {"verify": time(2, 0), "reconcile": time(2, 30)}


def make_nightly(apps, schema_editor):
    schedules = apps.get_model("stores", "Schedule")
    now = datetime.now(UTC)
    for job, at in NIGHTLY.items():
        # Not at once where it is past that time already: with the next night.
        started_on = now.date() if at <= now.time() else None
        schedules.objects.create(job=job, at=at, started_on=started_on)


class Migration(migrations.Migration):
    dependencies = [("stores", "0024_order_on_hold")]
    operations = [
        migrations.CreateModel(
            name="Schedule",
            fields=[
                ("job", models.CharField(max_length=40, primary_key=True, serialize=False)),
                (
                    "is_enabled",
                    models.BooleanField(default=True, help_text="Off: it starts only by hand."),
                ),
                (
                    "at",
                    models.TimeField(
                        help_text="Time of day in UTC. Missed, it starts as soon as it can."
                    ),
                ),
                ("started_on", models.DateField(blank=True, editable=False, null=True)),
            ],
            options={"db_table": "schedule", "ordering": ["at", "job"]},
        ),
        migrations.RunPython(make_nightly, migrations.RunPython.noop),
    ]
