"""Since when a channel database is there, and since when visits to it fail."""

from django.db import migrations, models
from django.db.models import OuterRef, Q, Subquery
from django.db.models.functions import Coalesce, Now

from stores.hqdb.migration import QuickMigration


def copy_times(apps, schema_editor):
    """A database of before was added with its channel."""
    channels = apps.get_model("stores", "Channel").objects.filter(pk=OuterRef("channel"))
    apps.get_model("stores", "ChannelDatabase").objects.update(
        added_at=Subquery(channels.values("created_at"))
    )


def fill_failures(apps, schema_editor):
    """A database that fails already has done so at least since its last visit."""
    failing = apps.get_model("stores", "ChannelDatabase").objects.filter(failures__gt=0)
    failing.update(failing_since=Coalesce("last_visited_at", Now()))


class Migration(QuickMigration):
    dependencies = [("stores", "0007_offline")]

    operations = [
        migrations.AddField(
            model_name="channeldatabase",
            name="added_at",
            field=models.DateTimeField(db_default=Now(), editable=False),
        ),
        migrations.AddField(
            model_name="channeldatabase",
            name="failing_since",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.RunPython(copy_times, migrations.RunPython.noop),
        migrations.RunPython(fill_failures, migrations.RunPython.noop),
        migrations.AddConstraint(
            model_name="channeldatabase",
            constraint=models.CheckConstraint(
                condition=Q(failing_since__isnull=True) | Q(failures__gt=0),
                name="only_a_database_that_fails_has_failed_since",
            ),
        ),
    ]
