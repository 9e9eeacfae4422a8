"""Which step a channel's failures are of, and no time zone that the database cannot tell."""

from django.db import migrations, models

# A trigger and no constraint: what a dump brings back is not judged again.
ZONE = """
CREATE FUNCTION its_time_zone_is_known() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM now() AT TIME ZONE NEW.time_zone;
    RETURN NULL;
EXCEPTION WHEN invalid_parameter_value THEN
    RAISE EXCEPTION 'channel: the database does not know its time zone'
        USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
END $$;
CREATE TRIGGER its_time_zone_is_known AFTER INSERT OR UPDATE OF time_zone ON channel
    FOR EACH ROW EXECUTE FUNCTION its_time_zone_is_known();
"""
NO_ZONE = """
DROP TRIGGER its_time_zone_is_known ON channel;
DROP FUNCTION its_time_zone_is_known();
"""


class Migration(migrations.Migration):
    dependencies = [("stores", "0038_prepayments")]

    operations = [
        migrations.AddField(
            model_name="channeldatabase",
            name="failed_step",
            field=models.CharField(blank=True, db_default="", editable=False, max_length=12),
        ),
        migrations.RunSQL(ZONE, NO_ZONE),
    ]
