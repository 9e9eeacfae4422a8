"""One view of every sale that no posted statement holds, and why."""

import django.db.models.deletion
from django.db import migrations, models

VIEW = """
CREATE VIEW excluded_sale AS
SELECT t.id AS transaction_id, t.channel_id, t.business_date, t.currency, t.gross_amount,
       CASE WHEN t.entry_status <> 'concluded' THEN t.entry_status::text
            WHEN t.statement_id IS NOT NULL THEN 'statement_open'
            WHEN t.validation_status = 'error' THEN coalesce(broken.rule, '')::text
            WHEN t.editing_until >= now() THEN 'being_corrected'
            WHEN t.validation_status = 'none' THEN 'not_validated'
            ELSE 'not_calculated' END AS reason,
       CASE WHEN t.entry_status = 'concluded' AND t.statement_id IS NULL
            THEN coalesce(broken.field, '') ELSE '' END AS field
  FROM retail_transaction t
  LEFT JOIN statement s ON s.id = t.statement_id
  LEFT JOIN LATERAL (
       SELECT e.rule, e.field FROM transaction_error e
        WHERE t.validation_status = 'error' AND e.transaction_id = t.id
        ORDER BY e.id LIMIT 1) broken ON true
 WHERE t.transaction_type IN ('sale', 'return') AND s.state IS DISTINCT FROM 'posted'
"""


class Migration(migrations.Migration):
    dependencies = [("stores", "0019_sale_guards")]

    operations = [
        migrations.RunSQL(VIEW, "DROP VIEW excluded_sale"),
        migrations.CreateModel(
            name="ExcludedSale",
            fields=[
                (
                    "transaction",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        primary_key=True,
                        related_name="exclusion",
                        serialize=False,
                        to="stores.retailtransaction",
                    ),
                ),
                ("business_date", models.DateField()),
                ("currency", models.CharField(max_length=3)),
                (
                    "gross_amount",
                    models.DecimalField(decimal_places=4, max_digits=18),
                ),
                ("reason", models.CharField(max_length=40)),
                ("field", models.CharField(max_length=40)),
                (
                    "channel",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="excluded_sales",
                        to="stores.channel",
                    ),
                ),
            ],
            options={
                "db_table": "excluded_sale",
                "managed": False,
                "default_permissions": (),
            },
        ),
    ]
