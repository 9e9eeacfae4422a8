"""One view of what stands in the way of transactions, so that they can be corrected alike."""

import django.db.models.deletion
from django.db import migrations, models

VIEW = """
CREATE VIEW failed_sale AS
SELECT 'rule-' || e.id AS id, t.id AS transaction_id, t.channel_id, t.business_date,
       e.rule AS reason, e.field,
       CASE WHEN e.line_number IS NULL THEN 'header'
            WHEN e.field IN ('tender_type', 'amount', 'currency') THEN 'payment'
            ELSE 'line' END AS part,
       e.line_number, e.expected, e.found
  FROM retail_transaction t JOIN transaction_error e ON e.transaction_id = t.id
 WHERE t.sales_order_id IS NULL AND t.statement_id IS NULL
 UNION ALL
SELECT 'order-' || t.id, t.id, t.channel_id, t.business_date, t.order_reason,
       coalesce(t.order_field, ''), 'header', NULL, '', ''
  FROM retail_transaction t
 WHERE t.order_status = 'failed' AND t.order_reason IS NOT NULL
   AND t.sales_order_id IS NULL AND t.statement_id IS NULL
   AND NOT EXISTS (SELECT FROM transaction_error e
                    WHERE e.transaction_id = t.id AND e.rule = t.order_reason)
"""


class Migration(migrations.Migration):
    dependencies = [("stores", "0020_excluded_sale")]

    operations = [
        migrations.RunSQL(VIEW, "DROP VIEW failed_sale"),
        migrations.CreateModel(
            name="FailedSale",
            fields=[
                ("id", models.CharField(max_length=30, primary_key=True, serialize=False)),
                ("business_date", models.DateField()),
                ("reason", models.CharField(max_length=40)),
                ("field", models.CharField(max_length=40)),
                ("part", models.CharField(max_length=7)),
                ("line_number", models.IntegerField(null=True)),
                ("expected", models.CharField(max_length=60)),
                ("found", models.CharField(max_length=60)),
                (
                    "channel",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="stores.channel",
                    ),
                ),
                (
                    "transaction",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="failures",
                        to="stores.retailtransaction",
                    ),
                ),
            ],
            options={
                "db_table": "failed_sale",
                "managed": False,
                "default_permissions": (),
            },
        ),
    ]
