"""A document is found by its number also when another channel has sent it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("stores", "0026_edit_conflict")]
    operations = [
        migrations.RemoveConstraint(
            model_name="retailtransaction", name="a_transaction_is_kept_once"
        ),
        migrations.AddConstraint(
            model_name="retailtransaction",
            constraint=models.UniqueConstraint(
                fields=("transaction_id", "channel"), name="a_transaction_is_kept_once"
            ),
        ),
    ]
