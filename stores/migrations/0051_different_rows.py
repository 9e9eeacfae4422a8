"""Rows of customers that a channel holds otherwise than headquarters sent them."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("stores", "0050_no_rule_undoes_a_removal")]
    operations = [
        migrations.AlterField(
            model_name="difference",
            name="what",
            field=models.CharField(
                choices=[
                    ("unknown_at_hq", "acknowledged and unknown to headquarters"),
                    ("gone_from_channel", "gone from the channel"),
                    ("changed", "events with other content than headquarters holds"),
                    ("without_header", "sales of which only lines or payments are there"),
                    ("foreign_account", "accounts that headquarters did not give"),
                    ("not_arrived", "customers that did not arrive"),
                    ("different", "rows of customers with other content than headquarters sent"),
                    ("not_sent", "rows of customers that headquarters did not send"),
                ],
                max_length=20,
            ),
        ),
    ]
