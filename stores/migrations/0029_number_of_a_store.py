"""One number of one store is one transaction, whichever channel sends it.

Those of another channel that headquarters holds already were let in by a person, or came in the
same second; they stay, and the first of them owns the number.
"""

from django.db import migrations, models

KEPT_BEFORE = """
UPDATE retail_transaction t SET shares_number = true
 WHERE EXISTS (SELECT FROM retail_transaction o
                WHERE o.transaction_id = t.transaction_id AND o.company_id = t.company_id
                  AND o.id < t.id
                  AND (o.store_number = t.store_number
                       OR o.store_number IS NULL AND t.store_number IS NULL
                          AND o.content_hash = t.content_hash))
"""


class Migration(migrations.Migration):
    dependencies = [("stores", "0028_run_business_date")]
    operations = [
        migrations.AddField(
            model_name="retailtransaction",
            name="shares_number",
            field=models.BooleanField(
                db_default=False,
                help_text="A person found that it is not another channel's of its number.",
            ),
        ),
        migrations.RunSQL(KEPT_BEFORE, migrations.RunSQL.noop),
        migrations.AddConstraint(
            model_name="retailtransaction",
            constraint=models.UniqueConstraint(
                condition=models.Q(shares_number=False, store_number__isnull=False),
                fields=("transaction_id", "store_number", "company"),
                name="a_number_of_a_store_is_one_transaction",
            ),
        ),
        migrations.AddConstraint(
            model_name="retailtransaction",
            constraint=models.UniqueConstraint(
                condition=models.Q(shares_number=False, store_number__isnull=True),
                fields=("transaction_id", "content_hash", "company"),
                name="a_storeless_transaction_is_kept_once",
            ),
        ),
    ]
