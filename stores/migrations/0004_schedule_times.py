"""Schedules by cron expressions in a time zone of their own, for every job, with their next start.

The pipeline gets an ordinary schedule.
"""

from datetime import UTC, datetime, timedelta

import django.core.validators
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models
from django.utils import timezone

import stores.cron
import stores.models.channel
from stores.hqdb.migration import QuickMigration


def move_schedules(historical_apps, schema_editor):
    """Say the times of daily schedules as cron expressions, and plan the next starts."""
    schedules = historical_apps.get_model("stores", "Schedule")
    now = timezone.now()
    for schedule in schedules.objects.all():
        if schedule.at is not None:
            schedule.cron = f"{schedule.at.minute} {schedule.at.hour} * * *"
            is_done_today = schedule.started_on == now.date()
            day = now.date() + timedelta(days=1 if is_done_today else 0)
            start = datetime.combine(day, schedule.at, tzinfo=UTC)
        elif schedule.started_at is not None:
            start = schedule.started_at + timedelta(minutes=schedule.every_minutes)
        else:
            start = now
        if schedule.is_enabled:
            schedule.planned_at, schedule.next_start_at = now, start
        schedule.save()
        if schedule.channel_id is not None:
            schedule.channels.add(schedule.channel_id)
        if schedule.group_id is not None:
            schedule.groups.add(schedule.group_id)
    schedules.objects.create(job="pipeline", is_continuous=True, planned_at=now, next_start_at=now)


class Migration(QuickMigration):
    dependencies = [
        ("stores", "0003_rts"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="schedule",
            options={"ordering": ["job", "id"]},
        ),
        migrations.RemoveConstraint(
            model_name="schedule",
            name="scheduled_job_is_known",
        ),
        migrations.RemoveConstraint(
            model_name="schedule",
            name="a_schedule_is_daily_or_recurring",
        ),
        migrations.RemoveConstraint(
            model_name="schedule",
            name="a_schedule_is_for_a_channel_or_a_group",
        ),
        migrations.RemoveConstraint(
            model_name="schedule",
            name="promises_are_checked_everywhere",
        ),
        migrations.RemoveConstraint(
            model_name="schedule",
            name="nothing_is_scheduled_twice",
        ),
        migrations.AddField(
            model_name="jobrun",
            name="visits",
            field=models.CharField(
                choices=[("all", "All"), ("quick", "Quick"), ("slow", "Slow")],
                db_default="all",
                default="all",
                max_length=5,
            ),
        ),
        migrations.AddField(
            model_name="schedule",
            name="catches_up",
            field=models.BooleanField(
                db_default=True,
                default=True,
                help_text="Whether a start that no scheduler made in time is made late, once, or skipped.",
            ),
        ),
        migrations.AddField(
            model_name="schedule",
            name="changed_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="schedule",
            name="changed_by",
            field=models.ForeignKey(
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="schedule",
            name="channels",
            field=models.ManyToManyField(
                blank=True,
                help_text="With no channel and no group, it is for all channels.",
                related_name="schedules",
                to="stores.channel",
            ),
        ),
        migrations.AddField(
            model_name="schedule",
            name="cron",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="Minute, hour, day of the month, month, day of the week: */20 8-18 * * mon-fri.",
                max_length=100,
                validators=[stores.cron.check_cron],
                verbose_name="Cron expression",
            ),
        ),
        migrations.AddField(
            model_name="schedule",
            name="first_day",
            field=models.DateField(
                blank=True,
                help_text="The first day on which it starts.",
                null=True,
                verbose_name="From",
            ),
        ),
        migrations.AddField(
            model_name="schedule",
            name="groups",
            field=models.ManyToManyField(
                blank=True,
                help_text="For the channels that have a database in one of these groups.",
                related_name="schedules",
                to="stores.channeldatabasegroup",
            ),
        ),
        migrations.AddField(
            model_name="schedule",
            name="is_continuous",
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name="schedule",
            name="last_day",
            field=models.DateField(
                blank=True,
                help_text="The last day on which it starts.",
                null=True,
                verbose_name="Until",
            ),
        ),
        migrations.AddField(
            model_name="schedule",
            name="next_start_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="schedule",
            name="pause_reason",
            field=models.CharField(blank=True, db_default="", editable=False, max_length=300),
        ),
        migrations.AddField(
            model_name="schedule",
            name="paused_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="schedule",
            name="paused_by",
            field=models.ForeignKey(
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="schedule",
            name="planned_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="schedule",
            name="retries",
            field=models.PositiveSmallIntegerField(
                db_default=5,
                default=5,
                help_text="If a run fails or is done in part, it starts again after 15 minutes, so often and only before the next start.",
                validators=[django.core.validators.MaxValueValidator(20)],
                verbose_name="Retries",
            ),
        ),
        migrations.AddField(
            model_name="schedule",
            name="retries_made",
            field=models.PositiveSmallIntegerField(db_default=0, default=0, editable=False),
        ),
        migrations.AddField(
            model_name="schedule",
            name="skipped_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="schedule",
            name="time_zone",
            field=models.CharField(
                db_default="UTC",
                default="UTC",
                help_text="Whose clock and whose days count, such as America/Chicago.",
                max_length=40,
                validators=[stores.models.channel.check_time_zone],
                verbose_name="Time zone",
            ),
        ),
        migrations.AlterField(
            model_name="schedule",
            name="every_minutes",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="From one start to the next: 1 to 1440.",
                null=True,
                validators=[
                    django.core.validators.MinValueValidator(1),
                    django.core.validators.MaxValueValidator(1440),
                ],
                verbose_name="Minutes",
            ),
        ),
        migrations.AlterField(
            model_name="schedule",
            name="is_enabled",
            field=models.BooleanField(
                default=True, help_text="If off, it starts nothing.", verbose_name="Switched on"
            ),
        ),
        migrations.AlterField(
            model_name="schedule",
            name="job",
            field=models.CharField(
                choices=[
                    ("pipeline", "Pipeline"),
                    ("P-0001", "P-job: upload from the channels"),
                    ("sync-customers", "Synchronize customers and channel requests"),
                    ("1010", "1010: customers to the channels"),
                    ("1070", "1070: channel configuration to the channels"),
                    ("1110", "1110: global configuration to the channels"),
                    ("sync-orders", "Synchronize orders"),
                    ("validate", "Validate store transactions"),
                    ("calculate-statements", "Calculate transactional statements"),
                    ("post-statements", "Post transactional statements"),
                    ("eod", "End of day"),
                    ("verify", "Check the promises"),
                    ("reconcile", "Compare with the channels"),
                    ("repair", "Compare and repair"),
                ],
                max_length=40,
            ),
        ),
        migrations.RunPython(move_schedules),
        # The table is changed further: nothing may wait for the end of the transaction.
        migrations.RunSQL("SET CONSTRAINTS ALL IMMEDIATE"),
        migrations.RemoveField(
            model_name="schedule",
            name="at",
        ),
        migrations.RemoveField(
            model_name="schedule",
            name="channel",
        ),
        migrations.RemoveField(
            model_name="schedule",
            name="group",
        ),
        migrations.RemoveField(
            model_name="schedule",
            name="started_on",
        ),
        migrations.AddIndex(
            model_name="schedule",
            index=models.Index(
                condition=models.Q(("next_start_at__isnull", False)),
                fields=["next_start_at"],
                name="schedule_due",
            ),
        ),
        migrations.AddConstraint(
            model_name="jobrun",
            constraint=models.CheckConstraint(
                condition=models.Q(("visits__in", ["all", "quick", "slow"])),
                name="visits_of_a_run_are_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="schedule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "job__in",
                        [
                            "pipeline",
                            "P-0001",
                            "sync-customers",
                            "1010",
                            "1070",
                            "1110",
                            "sync-orders",
                            "validate",
                            "calculate-statements",
                            "post-statements",
                            "eod",
                            "verify",
                            "reconcile",
                            "repair",
                        ],
                    )
                ),
                name="scheduled_job_is_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="schedule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        models.Q(("cron", ""), _negated=True),
                        ("every_minutes__isnull", True),
                        ("is_continuous", False),
                    ),
                    models.Q(
                        ("cron", ""),
                        ("every_minutes__isnull", False),
                        ("is_continuous", False),
                        ("every_minutes__range", (1, 1440)),
                    ),
                    models.Q(
                        ("cron", ""), ("every_minutes__isnull", True), ("is_continuous", True)
                    ),
                    _connector="OR",
                ),
                name="a_schedule_says_when_in_one_way",
            ),
        ),
        migrations.AddConstraint(
            model_name="schedule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("is_continuous", False),
                    ("job__in", ("pipeline", "P-0001", "1010", "sync-customers", "sync-orders")),
                    _connector="OR",
                ),
                name="only_jobs_that_are_soon_done_are_continuous",
            ),
        ),
        migrations.AddConstraint(
            model_name="schedule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("first_day__isnull", True),
                    ("last_day__isnull", True),
                    ("first_day__lte", models.F("last_day")),
                    _connector="OR",
                ),
                name="a_schedule_ends_after_it_begins",
                violation_error_message="Its last day is before its first.",
            ),
        ),
        migrations.AddConstraint(
            model_name="schedule",
            constraint=models.CheckConstraint(
                condition=models.Q(("retries__lte", 20)), name="retries_have_a_limit"
            ),
        ),
        migrations.AddConstraint(
            model_name="schedule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("pause_reason", ""),
                        ("paused_at__isnull", True),
                        ("paused_by__isnull", True),
                    ),
                    models.Q(
                        ("paused_at__isnull", False), models.Q(("pause_reason", ""), _negated=True)
                    ),
                    _connector="OR",
                ),
                name="schedules_are_paused_for_a_reason",
            ),
        ),
        migrations.AddConstraint(
            model_name="schedule",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("next_start_at__isnull", True),
                    models.Q(
                        ("is_enabled", True),
                        ("paused_at__isnull", True),
                        ("planned_at__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="a_schedule_that_is_off_has_no_next_start",
            ),
        ),
    ]
