"""Optional fields that HQ did not understand, each listed until it is right."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


def reference(model: str, **options: object) -> models.ForeignKey:
    """A reference that the database does not check, as those of staging."""
    return models.ForeignKey(
        model,
        django.db.models.deletion.PROTECT,
        db_constraint=False,
        db_index=False,
        **options,
    )


class Migration(migrations.Migration):
    dependencies = [("stores", "0061_true_figures")]
    operations = [
        migrations.CreateModel(
            name="FieldToCorrect",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("company", reference("stores.company", related_name="+")),
                ("database", reference("stores.channeldatabase", null=True, related_name="+")),
                ("event_id", models.UUIDField()),
                ("async_account", models.UUIDField(null=True)),
                (
                    "customer",
                    reference("stores.customer", null=True, related_name="fields_to_correct"),
                ),
                ("field", models.CharField(max_length=40)),
                ("rule", models.CharField(max_length=40)),
                ("value", models.TextField(blank=True, db_default="")),
                (
                    "since",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
                ),
                ("settled_at", models.DateTimeField(null=True)),
            ],
            options={"verbose_name_plural": "fields to correct", "db_table": "field_to_correct"},
        ),
        migrations.AddIndex(
            model_name="fieldtocorrect",
            index=models.Index(
                fields=["company"],
                condition=models.Q(settled_at=None),
                name="field_to_correct_open",
            ),
        ),
        migrations.AddIndex(
            model_name="fieldtocorrect",
            index=models.Index(fields=["customer"], name="field_to_correct_customer"),
        ),
        migrations.AddConstraint(
            model_name="fieldtocorrect",
            constraint=models.UniqueConstraint(
                fields=("event_id", "field"), name="a_field_of_an_event_is_marked_once"
            ),
        ),
    ]
