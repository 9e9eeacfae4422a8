"""Sales, their lines and their payments are in the nothing-lost balance like all other rows."""

import django.contrib.postgres.indexes
from django.db import migrations, models

# A row set aside is kept as it came, a sale with its lines and payments in it.
FUNCTIONS = """
CREATE FUNCTION rows_aside(raw bytea, part text) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    found jsonb;
BEGIN
    found := convert_from(raw, 'UTF8')::jsonb -> part;
    RETURN CASE jsonb_typeof(found) WHEN 'array' THEN jsonb_array_length(found) ELSE 0 END;
EXCEPTION WHEN data_exception THEN
    RETURN 0;
END $$;
CREATE OR REPLACE FUNCTION count_set_aside() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO arrival (database_id, "table", day, rows)
    SELECT database_id, "table", (first_seen_at AT TIME ZONE 'UTC')::date, sum(rows)
      FROM (SELECT database_id, "table", first_seen_at, 1 AS rows FROM fresh
            UNION ALL
            SELECT q.database_id, part.name, q.first_seen_at, rows_aside(q.raw, part.name)
              FROM fresh q, (VALUES ('retail_transaction_line'),
                                    ('retail_transaction_payment')) part (name)
             WHERE q."table" = 'retail_transaction') came
     GROUP BY 1, 2, 3 HAVING sum(rows) > 0 ORDER BY 1, 2, 3
        ON CONFLICT (database_id, "table", day) DO UPDATE SET rows = arrival.rows + excluded.rows;
    RETURN NULL;
END $$;
CREATE FUNCTION count_parts() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off AS $$
BEGIN
    INSERT INTO arrival (database_id, "table", day, rows)
    SELECT t.database_id, TG_TABLE_NAME, (t.staged_at AT TIME ZONE 'UTC')::date, count(*)
      FROM fresh p JOIN retail_transaction t ON t.id = p.transaction_id
     WHERE t.session_id IS NOT NULL GROUP BY 1, 2, 3
        ON CONFLICT (database_id, "table", day) DO UPDATE SET rows = arrival.rows + excluded.rows;
    RETURN NULL;
END $$;
CREATE TRIGGER arrivals_are_counted AFTER INSERT ON retail_transaction
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION count_staged();
CREATE TRIGGER arrivals_are_counted AFTER INSERT ON retail_transaction_line
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION count_parts();
CREATE TRIGGER arrivals_are_counted AFTER INSERT ON retail_transaction_payment
    REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION count_parts();
"""
# What arrived before anybody counted it.
ARRIVED = """
INSERT INTO arrival (database_id, "table", day, rows)
SELECT database_id, "table", (at AT TIME ZONE 'UTC')::date, sum(rows)
  FROM (SELECT database_id, 'retail_transaction' AS "table", staged_at AS at, 1 AS rows
          FROM retail_transaction WHERE session_id IS NOT NULL
        UNION ALL
        SELECT t.database_id, 'retail_transaction_line', t.staged_at, 1
          FROM retail_transaction_line p JOIN retail_transaction t ON t.id = p.transaction_id
         WHERE t.session_id IS NOT NULL
        UNION ALL
        SELECT t.database_id, 'retail_transaction_payment', t.staged_at, 1
          FROM retail_transaction_payment p JOIN retail_transaction t ON t.id = p.transaction_id
         WHERE t.session_id IS NOT NULL
        UNION ALL
        SELECT q.database_id, part.name, q.first_seen_at, rows_aside(q.raw, part.name)
          FROM quarantine q, (VALUES ('retail_transaction_line'),
                                     ('retail_transaction_payment')) part (name)
         WHERE q."table" = 'retail_transaction') came
 GROUP BY 1, 2, 3 HAVING sum(rows) > 0
    ON CONFLICT (database_id, "table", day) DO UPDATE SET rows = arrival.rows + excluded.rows;
"""
VIEW = """
DROP VIEW day_balance;
CREATE VIEW day_balance AS
SELECT a.id, a.database_id, a."table", a.day, a.rows AS captured,
       coalesce(b.converted, 0) AS converted, coalesce(b.linked, 0) AS linked,
       coalesce(b.posted, 0) AS posted, coalesce(b.voided, 0) AS voided,
       coalesce(b.waiting, 0) + a.rows - coalesce(b.captured, 0) AS waiting,
       coalesce(b.failed, 0) AS failed, coalesce(b.quarantined, 0) AS quarantined,
       coalesce(b.erased, 0) AS erased, b.counted_at,
       coalesce(b.captured - b.converted - b.linked - b.posted - b.voided - b.waiting - b.failed
                - b.quarantined - b.erased, 0) AS difference
  FROM arrival a LEFT JOIN balance b USING (database_id, "table", day);
"""


def count(model: str, name: str) -> migrations.AddField:
    return migrations.AddField(model, name, models.BigIntegerField(db_default=0))


class Migration(migrations.Migration):
    dependencies = [("stores", "0054_issued_documents")]
    operations = [
        *(
            count(model, name)
            for model in ("balance", "daybalance")
            for name in ("posted", "voided")
        ),
        migrations.AddIndex(
            model_name="retailtransaction",
            index=django.contrib.postgres.indexes.BrinIndex(
                fields=["staged_at"], name="transaction_arrived"
            ),
        ),
        migrations.RunSQL(FUNCTIONS),
        migrations.RunSQL(ARRIVED),
        migrations.RunSQL(VIEW),
    ]
