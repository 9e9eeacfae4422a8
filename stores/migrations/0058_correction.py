"""What is corrected alike at once is kept together, to be undone so."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("stores", "0055_balance_of_sales")]

    operations = [
        migrations.AddField(
            model_name="transactionchange",
            name="correction",
            field=models.UUIDField(null=True),
        ),
        migrations.AddIndex(
            model_name="transactionchange",
            index=models.Index(
                condition=models.Q(("correction__isnull", False)),
                fields=["correction", "transaction"],
                name="changes_of_a_correction",
            ),
        ),
    ]
