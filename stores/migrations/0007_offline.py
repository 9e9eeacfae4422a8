"""To which registers a job sends nothing."""

from pathlib import Path

from django.db import migrations, models

from stores.hqdb.migration import QuickMigration

SQL = Path(__file__).parent / "sql" / "excluded_databases.sql"


class Migration(QuickMigration):
    dependencies = [("stores", "0006_till")]

    operations = [
        migrations.AlterField(
            model_name="channeldatabasegroup",
            name="filter_shared_customer_data",
            field=models.BooleanField(
                db_default=False,
                default=False,
                help_text="On: registers of this group are sent no customers, and create none while they are offline.",
                verbose_name="filter shared customer data tables",
            ),
        ),
        # 0001 knows the model of the view, as of every other.
        migrations.RunSQL(SQL.read_text("utf-8")),
    ]
