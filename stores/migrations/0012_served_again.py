"""Since when a channel database that was left out is served again."""

from pathlib import Path

from django.db import migrations, models

from stores.hqdb.migration import QuickMigration

SQL = Path(__file__).parent / "sql" / "served_again.sql"


class Migration(QuickMigration):
    dependencies = [("stores", "0011_guards")]

    operations = [
        migrations.AddField(
            model_name="channeldatabase",
            name="included_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="channeldatabase",
            name="switched_on_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.RunSQL(SQL.read_text("utf-8")),
    ]
