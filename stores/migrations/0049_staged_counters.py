"""How far HQ has read each channel database, so that one that was set back tells itself."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("stores", "0041_waits_say_why")]
    operations = [
        migrations.AddField(
            model_name="channeldatabase",
            name="staged",
            field=models.JSONField(db_default={}, default=dict, editable=False),
        ),
    ]
