"""The guard of quarantined rows asks each table by a statement of its own, which is planned once."""

from pathlib import Path

from django.db import migrations

from stores.hqdb.migration import QuickMigration

SQL = Path(__file__).parent / "sql" / "guards_quarantine.sql"


class Migration(QuickMigration):
    dependencies = [("stores", "0010_jobs")]

    operations = [migrations.RunSQL(SQL.read_text("utf-8"))]
