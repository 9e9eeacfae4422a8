"""How long an attribute may be; and what the database refuses to explain is told by an incident."""

from django.db import migrations, models

TABLES = ("customer", "address", "contact", "affiliation", "attribute")
WAITS = " OR ".join(
    f"""EXISTS (SELECT FROM async_{table} s
                 WHERE s.company_id = NEW.company_id AND s.status = 'pending'
                   AND coalesce(s.reason, '') = '' AND s.staged_at < NEW.started_at - GRACE)"""
    for table in TABLES
).replace("GRACE", "interval '15 minutes'")
TRIGGER = f"""
CREATE OR REPLACE FUNCTION what_waits_in_staging_says_why() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF ({WAITS}) AND NOT EXISTS (
        SELECT FROM incident WHERE kind = 'row_refused' AND closed_at IS NULL
           AND subject = 'events of ' || NEW.company_id)
    THEN
        RAISE EXCEPTION 'run_step: something waits in staging without a reason'
            USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;
"""


class Migration(migrations.Migration):
    """Forward only, as the rule that this relaxes."""

    dependencies = [
        ("stores", "0035_row_refused"),
    ]

    operations = [
        migrations.RunSQL(TRIGGER),
        migrations.AlterField(
            model_name="asyncattribute",
            name="value",
            field=models.TextField(max_length=1000, null=True),
        ),
        migrations.AlterField(
            model_name="customerattribute",
            name="value",
            field=models.TextField(max_length=1000, null=True),
        ),
    ]
