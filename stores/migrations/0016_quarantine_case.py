"""One view of everything that waits for a person."""

from django.db import migrations, models

KINDS = ("customer", "address", "contact", "affiliation", "attribute")
COLUMNS = """event_id::text AS id, coalesce(database_id, for_database_id) AS database_id,
       'async_{0}' AS "table", replication_counter::text AS row_key, event_id, async_account,
       coalesce(account_number, '') AS account_number, coalesce(reason, '') AS reason,
       coalesce(field, '') AS field, '' AS rule"""
STAGED = """
SELECT {1}, 'failed' AS status, 1 AS attempts, staged_at AS since
  FROM async_{0} WHERE status = 'failed'
 UNION ALL
SELECT {1}, 'waiting', 1, staged_at
  FROM async_{0} WHERE status = 'pending' AND reason IS NOT NULL AND staged_at < now() - interval '24 hours'
"""
QUARANTINED = """
CREATE VIEW quarantine_case AS
SELECT id::text AS id, database_id, "table", row_key, event_id, async_account, account_number,
       reason, field, rule, status, attempts, first_seen_at AS since
  FROM quarantine
"""
VIEW = " UNION ALL ".join([QUARANTINED, *(STAGED.format(k, COLUMNS.format(k)) for k in KINDS)])


class Migration(migrations.Migration):
    dependencies = [
        ("stores", "0015_quarantine"),
    ]

    operations = [
        migrations.RunSQL(VIEW, "DROP VIEW quarantine_case"),
        migrations.CreateModel(
            name="Case",
            fields=[
                ("id", models.CharField(max_length=36, primary_key=True, serialize=False)),
                ("table", models.CharField(max_length=40)),
                ("row_key", models.CharField(max_length=80)),
                ("event_id", models.UUIDField(null=True)),
                ("async_account", models.UUIDField(null=True)),
                ("account_number", models.CharField(blank=True, max_length=20)),
                ("reason", models.CharField(max_length=40)),
                ("field", models.CharField(max_length=40)),
                ("rule", models.CharField(max_length=120)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("open", "Open"),
                            ("failed", "Failed"),
                            ("waiting", "Waiting"),
                            ("released", "Released"),
                            ("dismissed", "Dismissed"),
                            ("superseded", "Superseded"),
                        ],
                        max_length=10,
                    ),
                ),
                ("attempts", models.IntegerField()),
                ("since", models.DateTimeField()),
            ],
            options={
                "db_table": "quarantine_case",
                "managed": False,
                "default_permissions": (),
            },
        ),
        migrations.AddIndex(
            model_name="asyncaddress",
            index=models.Index(
                condition=models.Q(("status", "failed")),
                fields=["reason"],
                name="asyncaddress_failed",
            ),
        ),
        migrations.AddIndex(
            model_name="asyncaddress",
            index=models.Index(
                condition=models.Q(("reason__isnull", False), ("status", "pending")),
                fields=["staged_at"],
                name="asyncaddress_waiting",
            ),
        ),
        migrations.AddIndex(
            model_name="asyncaffiliation",
            index=models.Index(
                condition=models.Q(("status", "failed")),
                fields=["reason"],
                name="asyncaffiliation_failed",
            ),
        ),
        migrations.AddIndex(
            model_name="asyncaffiliation",
            index=models.Index(
                condition=models.Q(("reason__isnull", False), ("status", "pending")),
                fields=["staged_at"],
                name="asyncaffiliation_waiting",
            ),
        ),
        migrations.AddIndex(
            model_name="asyncattribute",
            index=models.Index(
                condition=models.Q(("status", "failed")),
                fields=["reason"],
                name="asyncattribute_failed",
            ),
        ),
        migrations.AddIndex(
            model_name="asyncattribute",
            index=models.Index(
                condition=models.Q(("reason__isnull", False), ("status", "pending")),
                fields=["staged_at"],
                name="asyncattribute_waiting",
            ),
        ),
        migrations.AddIndex(
            model_name="asynccontact",
            index=models.Index(
                condition=models.Q(("status", "failed")),
                fields=["reason"],
                name="asynccontact_failed",
            ),
        ),
        migrations.AddIndex(
            model_name="asynccontact",
            index=models.Index(
                condition=models.Q(("reason__isnull", False), ("status", "pending")),
                fields=["staged_at"],
                name="asynccontact_waiting",
            ),
        ),
        migrations.AddIndex(
            model_name="asynccustomer",
            index=models.Index(
                condition=models.Q(("status", "failed")),
                fields=["reason"],
                name="asynccustomer_failed",
            ),
        ),
        migrations.AddIndex(
            model_name="asynccustomer",
            index=models.Index(
                condition=models.Q(("reason__isnull", False), ("status", "pending")),
                fields=["staged_at"],
                name="asynccustomer_waiting",
            ),
        ),
    ]
