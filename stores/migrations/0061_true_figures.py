"""Deliveries keep the earlier ones; attempts are no longer told of events that nobody counts."""

from django.db import migrations, models

KINDS = ("customer", "address", "contact", "affiliation", "attribute")
COLUMNS = """event_id::text AS id, coalesce(database_id, for_database_id) AS database_id,
       'async_{0}' AS "table", replication_counter::text AS row_key, event_id, async_account,
       coalesce(account_number, '') AS account_number, coalesce(reason, '') AS reason,
       coalesce(field, '') AS field, '' AS rule"""
STAGED = """
SELECT {1}, 'failed' AS status, NULL::integer AS attempts, staged_at AS since
  FROM async_{0} WHERE status = 'failed'
 UNION ALL
SELECT {1}, 'waiting', NULL, staged_at
  FROM async_{0}
 WHERE status = 'pending' AND reason IS NOT NULL AND staged_at < now() - interval '24 hours'
"""
QUARANTINED = """
CREATE OR REPLACE VIEW quarantine_case AS
SELECT id::text AS id, database_id, "table", row_key, event_id, async_account, account_number,
       reason, field, rule, status, attempts, first_seen_at AS since
  FROM quarantine
"""
VIEW = " UNION ALL ".join([QUARANTINED, *(STAGED.format(k, COLUMNS.format(k)) for k in KINDS)])


class Migration(migrations.Migration):
    dependencies = [("stores", "0036_attribute_length")]

    operations = [
        migrations.AddField(
            model_name="delivery", name="earlier", field=models.JSONField(null=True)
        ),
        migrations.RunSQL(VIEW, migrations.RunSQL.noop),
        migrations.AlterField(
            model_name="case", name="attempts", field=models.IntegerField(null=True)
        ),
    ]
