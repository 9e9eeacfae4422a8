"""Events made in HQ: staging rows without channel database, with a counter of their own."""

from django.conf import settings
from django.db import migrations, models

KINDS = ("asyncaddress", "asyncaffiliation", "asyncattribute", "asynccontact", "asynccustomer")


def reference(to: str) -> models.ForeignKey:
    """A reference without constraint or index, like all of staging's."""
    return models.ForeignKey(
        to=to,
        on_delete=models.PROTECT,
        db_constraint=False,
        db_index=False,
        null=True,
        related_name="+",
    )


def columns(model: str) -> list[migrations.operations.base.Operation]:
    """Who made an event, and what it corrects."""
    origin = models.CharField(
        choices=[("till", "Till"), ("hq", "Headquarters")], db_default="till", max_length=4
    )
    return [
        migrations.AddField(model, "origin", origin),
        migrations.AddField(model, "made_by", reference(settings.AUTH_USER_MODEL)),
        migrations.AddField(model, "corrects", models.CharField(max_length=36, null=True)),
        migrations.AddField(model, "for_database", reference("stores.channeldatabase")),
        migrations.AlterField(model, "database", reference("stores.channeldatabase")),
        migrations.AlterField(model, "session", reference("stores.uploadsession")),
    ]


def constraints(model: str) -> list[migrations.operations.base.Operation]:
    """A corrected event may never have had a customer; one without database is HQ's own."""
    has_customer = models.CheckConstraint(
        condition=~models.Q(status__in=["applied", "superseded"])
        | models.Q(customer__isnull=False)
        | models.Q(reason="corrected", status="superseded"),
        name=f"{model}_applied_has_customer",
    )
    comes_from_somewhere = models.CheckConstraint(
        condition=models.Q(database__isnull=False) | models.Q(origin="hq"),
        name=f"{model}_comes_from_somewhere",
    )
    origin_is_known = models.CheckConstraint(
        condition=models.Q(origin__in=["till", "hq"]), name=f"{model}_origin_is_known"
    )
    return [
        migrations.RemoveConstraint(model, has_customer.name),
        migrations.AddConstraint(model, has_customer),
        migrations.AddConstraint(model, comes_from_somewhere),
        migrations.AddConstraint(model, origin_is_known),
    ]


class Migration(migrations.Migration):
    dependencies = [
        ("stores", "0005_promise"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]
    operations = [
        *(operation for model in KINDS for operation in columns(model)),
        *(operation for model in KINDS for operation in constraints(model)),
        migrations.RunSQL("CREATE SEQUENCE hq_event_counter", "DROP SEQUENCE hq_event_counter"),
    ]
