"""Events may say which version of the customer their maker had seen."""

from pathlib import Path

from django.db import migrations, models

from stores.hqdb.migration import QuickMigration

SQL = Path(__file__).parent / "sql"
KINDS = ("customer", "address", "contact", "affiliation", "attribute")


def views_of_events() -> list[migrations.RunSQL]:
    """Make the views of staged events again, which have a column more."""
    drop = ["DROP VIEW pending_address", *(f"DROP VIEW staged_{kind}" for kind in KINDS)]
    states = (SQL / "staged_event_states.sql").read_text("utf-8")
    return [
        migrations.RunSQL("; ".join(drop)),
        *(migrations.RunSQL(states.replace("{kind}", kind)) for kind in KINDS),
        migrations.RunSQL((SQL / "pending_address.sql").read_text("utf-8")),
    ]


class Migration(QuickMigration):
    dependencies = [("stores", "0008_status")]

    operations = [
        *(
            migrations.AddField(
                model_name=f"staged{kind}",
                name="based_on",
                field=models.BigIntegerField(null=True),
            )
            for kind in KINDS
        ),
        *views_of_events(),
        migrations.RunSQL((SQL / "seen_until.sql").read_text("utf-8")),
    ]
