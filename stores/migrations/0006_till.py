"""The permission to use the till of a channel in the portal."""

from django.db import migrations

from stores.hqdb.migration import QuickMigration


class Migration(QuickMigration):
    dependencies = [("stores", "0005_channel_secrets")]

    operations = [
        migrations.AlterModelOptions(
            name="channel",
            options={
                "ordering": ["code"],
                "permissions": [("use_till", "Can use the till of a channel")],
            },
        ),
    ]
