"""Schedules of orders and the end of day, for all channels, for one or for those of a group."""

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

# The job was the key until now, of which there may be several schedules.
KEEP = "CREATE TABLE schedule_before AS SELECT * FROM schedule"
BRING_BACK = """
INSERT INTO schedule (job, is_enabled, at, started_on, started_at, last_run_id)
SELECT s.job, s.is_enabled, s.at, s.started_on, r.created_at, r.id
  FROM schedule_before s
  LEFT JOIN LATERAL (SELECT id, created_at FROM job_run
                      WHERE job = s.job AND started_by = 'schedule'
                      ORDER BY created_at DESC, id DESC LIMIT 1) r ON true;
DROP TABLE schedule_before;
"""


class Migration(migrations.Migration):
    dependencies = [("stores", "0029_number_of_a_store")]
    operations = [
        migrations.RunSQL(KEEP),
        migrations.DeleteModel(name="Schedule"),
        migrations.CreateModel(
            name="Schedule",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "job",
                    models.CharField(
                        choices=[
                            ("sync-orders", "Synchronize orders"),
                            ("eod", "End of day"),
                            ("verify", "Check the promises"),
                            ("reconcile", "Compare with the channels"),
                        ],
                        max_length=40,
                    ),
                ),
                (
                    "channel",
                    models.ForeignKey(
                        blank=True,
                        help_text="The only channel it is for; empty: every channel.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="schedules",
                        to="stores.channel",
                    ),
                ),
                (
                    "group",
                    models.ForeignKey(
                        blank=True,
                        help_text="For the channels that have a database in this group.",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="schedules",
                        to="stores.channeldatabasegroup",
                    ),
                ),
                (
                    "is_enabled",
                    models.BooleanField(default=True, help_text="Off: it starts only by hand."),
                ),
                (
                    "at",
                    models.TimeField(
                        blank=True,
                        help_text="Time of day in UTC. Missed, it starts as soon as it can.",
                        null=True,
                        verbose_name="every day at",
                    ),
                ),
                (
                    "every_minutes",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Instead of a time of day: from one start to the next.",
                        null=True,
                        validators=[
                            django.core.validators.MinValueValidator(1),
                            django.core.validators.MaxValueValidator(1440),
                        ],
                    ),
                ),
                ("started_on", models.DateField(blank=True, editable=False, null=True)),
                ("started_at", models.DateTimeField(editable=False, null=True)),
                (
                    "last_run",
                    models.ForeignKey(
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="schedules",
                        to="stores.jobrun",
                    ),
                ),
            ],
            options={
                "db_table": "schedule",
                "ordering": ["at", "job", "id"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("job__in", ["sync-orders", "eod", "verify", "reconcile"])
                        ),
                        name="scheduled_job_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("at__isnull", False), ("every_minutes__isnull", True)),
                            models.Q(
                                ("at__isnull", True),
                                ("every_minutes__isnull", False),
                                ("every_minutes__range", (1, 1440)),
                            ),
                            _connector="OR",
                        ),
                        name="a_schedule_is_daily_or_recurring",
                        violation_error_message="Give either a time of day or minutes from start to start.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("channel__isnull", True), ("group__isnull", True), _connector="OR"
                        ),
                        name="a_schedule_is_for_a_channel_or_a_group",
                        violation_error_message="Choose a channel or a group, not both.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("job", "verify"), _negated=True),
                            models.Q(("channel__isnull", True), ("group__isnull", True)),
                            _connector="OR",
                        ),
                        name="promises_are_checked_everywhere",
                        violation_error_message="The promises are checked everywhere: choose no channel.",
                    ),
                    models.UniqueConstraint(
                        fields=("job", "channel", "group", "at", "every_minutes"),
                        name="nothing_is_scheduled_twice",
                        nulls_distinct=False,
                        violation_error_message="There is such a schedule already.",
                    ),
                ],
            },
        ),
        migrations.RunSQL(BRING_BACK),
    ]
