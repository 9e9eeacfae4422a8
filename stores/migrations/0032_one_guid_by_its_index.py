"""Who looks for the open events of one GUID does not find the index of databases."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("stores", "0031_run_order_number")]
    operations = [
        migrations.RemoveIndex(model_name="asynccustomer", name="async_customer_open_database"),
        migrations.AddIndex(
            model_name="asynccustomer",
            index=models.Index(
                condition=models.Q(("database__gt", 0), ("status__in", ["pending", "failed"])),
                fields=["database"],
                name="async_customer_open_database",
            ),
        ),
    ]
