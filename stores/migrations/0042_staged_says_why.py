"""No conversion ends while something that it passed by waits in staging without a reason."""

from django.db import migrations

TABLES = ("customer", "address", "contact", "affiliation", "attribute")
WAITS = " OR ".join(
    f"""EXISTS (SELECT FROM async_{table} s
                 WHERE s.company_id = NEW.company_id AND s.status = 'pending'
                   AND coalesce(s.reason, '') = '' AND s.staged_at < NEW.started_at - GRACE)"""
    for table in TABLES
).replace("GRACE", "interval '15 minutes'")
# What has only just arrived has not been looked at; an upload takes less than the minutes of grace.
TRIGGER = f"""
CREATE FUNCTION what_waits_in_staging_says_why() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF {WAITS} THEN
        RAISE EXCEPTION 'run_step: something waits in staging without a reason'
            USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER what_waits_in_staging_says_why AFTER UPDATE OF status ON run_step FOR EACH ROW
    WHEN (NEW.step = 'convert' AND OLD.status = 'running'
          AND NEW.status IN ('succeeded', 'nothing_to_do'))
    EXECUTE FUNCTION what_waits_in_staging_says_why();
"""


class Migration(migrations.Migration):
    """Forward only: a downgrade would leave the rules without guard."""

    dependencies = [("stores", "0058_correction")]
    operations = [migrations.RunSQL(TRIGGER)]
