"""What the modes of customer orders mean, in words."""

from django.db import migrations, models

from stores.hqdb.migration import QuickMigration


class Migration(QuickMigration):
    dependencies = [("stores", "0012_served_again")]

    operations = [
        migrations.AlterField(
            model_name="functionalityprofile",
            name="customer_order_mode",
            field=models.CharField(
                choices=[
                    (
                        "sync",
                        "Synchronous: while headquarters answers, for customers with an account",
                    ),
                    ("async", "Asynchronous: always"),
                    (
                        "sync_first",
                        "Synchronous with asynchronous backup: always, like asynchronous",
                    ),
                ],
                default="async",
                help_text="When tills take orders. In each mode the channel stores the order, and Synchronize orders creates it at headquarters.",
                max_length=10,
                verbose_name="create customer order in async mode",
            ),
        ),
    ]
