"""The orders on hold are found by an index, for the overview counts them."""

from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("stores", "0023_database_place"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddIndex(
            model_name="salesorder",
            index=models.Index(
                condition=models.Q(("state", "on_hold")), fields=["id"], name="order_on_hold"
            ),
        ),
    ]
