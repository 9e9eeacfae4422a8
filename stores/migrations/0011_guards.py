"""Functions and guards that take less time to plan: of quarantined rows, and normalization."""

from pathlib import Path

from django.db import migrations

from stores.hqdb.migration import QuickMigration

SQL = Path(__file__).parent / "sql"


class Migration(QuickMigration):
    dependencies = [("stores", "0010_jobs")]

    operations = [
        migrations.RunSQL((SQL / "normalization.sql").read_text("utf-8")),
        migrations.RunSQL((SQL / "guards_quarantine.sql").read_text("utf-8")),
    ]
