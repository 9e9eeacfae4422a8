"""Workers share a run: each of its steps has a worker, a lease and a fencing number of its own."""

from django.db import migrations, models

GUARD = """
CREATE TRIGGER a_steps_fencing_number_only_grows BEFORE UPDATE ON run_step FOR EACH ROW
    WHEN (OLD.fencing_no IS NOT NULL
          AND (NEW.fencing_no IS NULL OR NEW.fencing_no < OLD.fencing_no))
    EXECUTE FUNCTION refuse();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("stores", "0016_quarantine_case"),
    ]

    operations = [
        migrations.AddField(
            model_name="channeldatabase",
            name="failures",
            field=models.PositiveIntegerField(db_default=0, editable=False),
        ),
        migrations.AddField(
            model_name="channeldatabase",
            name="last_duration_s",
            field=models.FloatField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="channeldatabase",
            name="next_try_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="jobrun",
            name="worker",
            field=models.CharField(blank=True, db_default="", max_length=60),
        ),
        migrations.AddField(
            model_name="runstep",
            name="fencing_no",
            field=models.BigIntegerField(null=True),
        ),
        migrations.AddField(
            model_name="runstep",
            name="heartbeat_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="runstep",
            name="lease_until",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="runstep",
            name="worker",
            field=models.CharField(blank=True, db_default="", max_length=60),
        ),
        migrations.AddField(
            model_name="jobrun",
            name="needs_right",
            field=models.BooleanField(db_default=False),
        ),
        migrations.AddField(
            model_name="runstep",
            name="moved_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.RunSQL(GUARD, "DROP TRIGGER a_steps_fencing_number_only_grows ON run_step"),
    ]
