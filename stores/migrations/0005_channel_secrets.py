"""Passwords of channel databases, pauses of each direction with who and why, archived channels."""

import django.core.validators
import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

from stores.hqdb.migration import QuickMigration


class Migration(QuickMigration):
    dependencies = [
        ("stores", "0004_schedule_times"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="channeldatabase",
            name="downloads_are_held_for_a_reason",
        ),
        migrations.RenameField(
            model_name="channeldatabase",
            old_name="hold_reason",
            new_name="downloads_pause_reason",
        ),
        migrations.RenameField(
            model_name="channeldatabase",
            old_name="held_since",
            new_name="downloads_paused_at",
        ),
        migrations.RenameField(
            model_name="channeldatabase",
            old_name="held_by",
            new_name="downloads_paused_by",
        ),
        migrations.RenameField(
            model_name="channeldatabase",
            old_name="resumed_at",
            new_name="downloads_resumed_at",
        ),
        migrations.AddField(
            model_name="channel",
            name="archive_reason",
            field=models.CharField(blank=True, db_default="", editable=False, max_length=300),
        ),
        migrations.AddField(
            model_name="channel",
            name="archived_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="channel",
            name="archived_by",
            field=models.ForeignKey(
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="channeldatabase",
            name="secret",
            field=models.CharField(blank=True, db_default="", editable=False, max_length=500),
        ),
        migrations.AddField(
            model_name="channeldatabase",
            name="uploads_pause_reason",
            field=models.CharField(blank=True, db_default="", editable=False, max_length=300),
        ),
        migrations.AddField(
            model_name="channeldatabase",
            name="uploads_paused_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="channeldatabase",
            name="uploads_paused_by",
            field=models.ForeignKey(
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="channeldatabase",
            name="uploads_resumed_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AlterField(
            model_name="channel",
            name="code",
            field=models.CharField(
                max_length=12,
                unique=True,
                validators=[
                    django.core.validators.RegexValidator(
                        "^[A-Za-z0-9][A-Za-z0-9_-]*$", "Letters, digits, - and _ only."
                    ),
                    django.core.validators.RegexValidator(
                        "^add$", "A channel cannot have the code add.", inverse_match=True
                    ),
                ],
            ),
        ),
        migrations.AddConstraint(
            model_name="channel",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("archive_reason", ""),
                        ("archived_at__isnull", True),
                        ("archived_by__isnull", True),
                    ),
                    models.Q(
                        ("archived_at__isnull", False),
                        ("is_enabled", False),
                        models.Q(("archive_reason", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="an_archived_channel_is_off_for_a_reason",
            ),
        ),
        migrations.AddConstraint(
            model_name="channeldatabase",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("secret", ""),
                    ("url__startswith", "postgres"),
                    _connector="OR",
                ),
                name="only_a_server_s_address_has_a_secret",
            ),
        ),
        migrations.AddConstraint(
            model_name="channeldatabase",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("uploads_pause_reason", ""),
                        ("uploads_paused_at__isnull", True),
                        ("uploads_paused_by__isnull", True),
                    ),
                    models.Q(
                        ("uploads_paused_at__isnull", False),
                        models.Q(("uploads_pause_reason", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="uploads_are_paused_for_a_reason",
            ),
        ),
        migrations.AddConstraint(
            model_name="channeldatabase",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("downloads_pause_reason", ""),
                        ("downloads_paused_at__isnull", True),
                        ("downloads_paused_by__isnull", True),
                    ),
                    models.Q(
                        ("downloads_paused_at__isnull", False),
                        models.Q(("downloads_pause_reason", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="downloads_are_paused_for_a_reason",
            ),
        ),
    ]
