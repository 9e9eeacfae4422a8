"""Edits that contend, with both values."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("stores", "0025_schedule"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="EditConflict",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("table", models.CharField(max_length=20)),
                ("key", models.CharField(blank=True, max_length=60)),
                ("field", models.CharField(max_length=40)),
                ("lost_value", models.TextField(blank=True)),
                ("kept_value", models.TextField(blank=True)),
                ("lost_event", models.UUIDField()),
                ("kept_event", models.UUIDField()),
                ("lost_at", models.DateTimeField()),
                ("kept_at", models.DateTimeField()),
                ("is_clock_off", models.BooleanField()),
                (
                    "found_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                ("closed_at", models.DateTimeField(null=True)),
                (
                    "choice",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("rule", "The later edit stays"),
                            ("keep", "The kept value confirmed"),
                            ("take", "The other value taken"),
                        ],
                        max_length=4,
                    ),
                ),
                ("reason", models.CharField(blank=True, max_length=300)),
                ("made_event", models.UUIDField(null=True)),
                (
                    "closed_by",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "customer",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="conflicts",
                        to="stores.customer",
                    ),
                ),
                (
                    "kept_database",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="stores.channeldatabase",
                    ),
                ),
                (
                    "lost_database",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="stores.channeldatabase",
                    ),
                ),
            ],
            options={
                "db_table": "edit_conflict",
                "indexes": [
                    models.Index(
                        condition=models.Q(("closed_at__isnull", True)),
                        fields=["id"],
                        name="edit_conflict_open",
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("lost_event", "kept_event", "field"), name="two_edits_conflict_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("choice", ""), ("closed_at__isnull", True)),
                            models.Q(
                                ("choice__in", ["rule", "keep", "take"]),
                                ("closed_at__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="conflict_is_closed_by_a_choice",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("choice", "rule"), _negated=True),
                            ("is_clock_off", False),
                            _connector="OR",
                        ),
                        name="no_rule_settles_a_wrong_clock",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("choice__in", ["keep", "take"]), _negated=True),
                            models.Q(
                                ("closed_by__isnull", False),
                                models.Q(("reason", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="a_person_says_why",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("choice", "take"), ("made_event__isnull", False)),
                            models.Q(
                                ("made_event__isnull", True),
                                models.Q(("choice", "take"), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="a_taken_value_has_its_event",
                    ),
                ],
            },
        ),
    ]
