"""A run may be about one customer order."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("stores", "0030_schedule_of_channels")]
    operations = [
        migrations.AddField(
            model_name="jobrun",
            name="order_number",
            field=models.CharField(
                blank=True,
                db_default="",
                help_text="The only customer order it looks at, by its confirmation number; "
                "empty: all.",
                max_length=50,
            ),
        ),
    ]
