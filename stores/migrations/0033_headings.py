"""What the set-up calls two of its lists."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("stores", "0032_one_guid_by_its_index")]
    operations = [
        migrations.AlterModelOptions(
            name="guidmap",
            options={"verbose_name": "GUID map", "verbose_name_plural": "GUID map"},
        ),
        migrations.AlterModelOptions(
            name="quarantine",
            options={
                "verbose_name": "quarantined row",
                "verbose_name_plural": "quarantine",
                "permissions": [
                    ("resolve_quarantine", "Can release and correct quarantined rows"),
                    ("dismiss_quarantine", "Can dismiss quarantined rows"),
                ],
            },
        ),
    ]
