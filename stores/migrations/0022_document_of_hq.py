"""A document of headquarters takes the place of one in quarantine; a released one has no session."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("stores", "0021_failed_sale"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="retailtransaction",
            name="corrects",
            field=models.CharField(max_length=36, null=True),
        ),
        migrations.AddField(
            model_name="retailtransaction",
            name="made_by",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="retailtransaction",
            name="origin",
            field=models.CharField(
                choices=[("till", "Till"), ("hq", "Headquarters")], db_default="till", max_length=4
            ),
        ),
        migrations.AlterField(
            model_name="retailtransaction",
            name="database",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="transactions",
                to="stores.channeldatabase",
            ),
        ),
        migrations.AlterField(
            model_name="retailtransaction",
            name="session",
            field=models.ForeignKey(
                db_index=False,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="transactions",
                to="stores.uploadsession",
            ),
        ),
        migrations.AddConstraint(
            model_name="retailtransaction",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("database__isnull", False), ("origin", "till")),
                    models.Q(
                        ("corrects__isnull", False), ("database__isnull", True), ("origin", "hq")
                    ),
                    _connector="OR",
                ),
                name="a_transaction_comes_from_somewhere",
            ),
        ),
    ]
