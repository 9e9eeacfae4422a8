"""Headquarters' schema: the tables, then what the models cannot say.

Functions, guards and views are in `sql/`, one file a noun. Forward only: without the guards, rows could be written
that later versions rely on never to exist.
"""

import datetime
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.apps import apps
from django.conf import settings
from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.indexes import BrinIndex, GistIndex
from django.contrib.postgres.operations import TrigramExtension
from django.core.serializers.json import DjangoJSONEncoder
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import migrations, models
from django.db.migrations.state import ModelState
from django.db.models.expressions import CombinedExpression
from django.db.models.functions import Lower, Now
from django.utils import timezone

from stores.hqdb.migration import QuickMigration
from stores.messages.field import MessageField
from stores.models.channel import check_time_zone
from stores.models.company import check_format
from stores.models.package import ChangeRange
from stores.models.session import DatabaseId
from stores.models.transaction import MoneyField

KINDS = ("customer", "address", "contact", "affiliation", "attribute")
NIGHTLY = {"verify": datetime.time(2, 0), "reconcile": datetime.time(2, 30)}


def sql(name: str) -> migrations.RunSQL:
    """The statements of one file of `sql/`."""
    return migrations.RunSQL((Path(__file__).parent / "sql" / f"{name}.sql").read_text("utf-8"))


def sql_of_each_kind(name: str) -> list[migrations.RunSQL]:
    """The statements of one file of `sql/` for each kind of staged events, whose noun is {kind}."""
    text = (Path(__file__).parent / "sql" / f"{name}.sql").read_text("utf-8")
    return [migrations.RunSQL(text.replace("{kind}", kind)) for kind in KINDS]


def staged_events(
    noun: str, columns: list[Any], *, key: Sequence[Any] = (), indexes: Sequence[models.Index] = ()
) -> migrations.CreateModel:
    """The table of one kind of staged events: its own columns and key, and those of every event."""
    prefix, table = f"staged{noun.lower()}", f"async_{noun.lower()}"
    return migrations.CreateModel(
        name=f"Staged{noun}",
        fields=[
            *columns,
            ("event_id", models.UUIDField(primary_key=True, serialize=False)),
            (
                "origin",
                models.CharField(
                    choices=[("till", "Till"), ("hq", "Headquarters")], db_default="till", max_length=4
                ),
            ),
            (
                "batch",
                models.ForeignKey(
                    db_constraint=False,
                    db_index=False,
                    on_delete=models.PROTECT,
                    related_name="+",
                    to="stores.uploadbatch",
                ),
            ),
            (
                "database",
                models.ForeignKey(
                    db_constraint=False,
                    db_index=False,
                    null=True,
                    on_delete=models.PROTECT,
                    related_name="+",
                    to="stores.channeldatabase",
                ),
            ),
            (
                "company",
                models.ForeignKey(
                    db_constraint=False,
                    db_index=False,
                    on_delete=models.PROTECT,
                    related_name="+",
                    to="stores.company",
                ),
            ),
            ("generation", models.IntegerField(db_default=1)),
            ("replication_counter", models.BigIntegerField()),
            ("occurred_at", models.DateTimeField()),
            (
                "operation",
                models.CharField(
                    choices=[("create", "Create"), ("update", "Update"), ("deactivate", "Deactivate")],
                    max_length=10,
                ),
            ),
            ("async_account", models.UUIDField(null=True)),
            ("account_number", models.CharField(max_length=20, null=True)),
            ("staff_id", models.CharField(max_length=25, null=True)),
            ("terminal_id", models.CharField(max_length=10, null=True)),
            ("created_offline", models.BooleanField(null=True)),
            ("staged_at", models.DateTimeField(db_default=Now())),
            (
                "made_by",
                models.ForeignKey(
                    db_constraint=False,
                    db_index=False,
                    null=True,
                    on_delete=models.PROTECT,
                    related_name="+",
                    to=settings.AUTH_USER_MODEL,
                ),
            ),
            ("corrects", models.CharField(max_length=36, null=True)),
            (
                "for_database",
                models.ForeignKey(
                    db_constraint=False,
                    db_index=False,
                    null=True,
                    on_delete=models.PROTECT,
                    related_name="+",
                    to="stores.channeldatabase",
                ),
            ),
            ("erased_at", models.DateTimeField(null=True)),
            *key,
        ],
        options={
            "db_table": table,
            "abstract": False,
            "indexes": [
                models.Index(fields=["batch"], name=f"{prefix}_batch"),
                models.Index(fields=["async_account"], name=f"{prefix}_guid"),
                models.Index(
                    condition=models.Q(("account_number__isnull", False)),
                    fields=["company", "account_number"],
                    name=f"{prefix}_account",
                ),
                BrinIndex(fields=["staged_at"], name=f"{prefix}_arrived"),
                *indexes,
            ],
            "constraints": [
                models.CheckConstraint(
                    condition=models.Q(("database__isnull", False), ("origin", "hq"), _connector="OR"),
                    name=f"{prefix}_comes_from_somewhere",
                ),
                models.CheckConstraint(
                    condition=models.Q(("origin__in", ["till", "hq"])), name=f"{prefix}_origin_is_known"
                ),
            ],
        },
    )


def make_nightly(historical_apps, schema_editor):
    """Schedule the checks of every night, from the next one on."""
    schedules = historical_apps.get_model("stores", "Schedule")
    now = timezone.now()
    for job, at in NIGHTLY.items():
        # Where it is past that time already, not at once.
        started_on = now.date() if at <= now.time() else None
        schedules.objects.create(job=job, at=at, started_on=started_on)


def models_of_views() -> list[migrations.CreateModel]:
    """The models whose rows are those of views. `sql/` has their columns, and makes them."""
    views = [model for model in apps.get_app_config("stores").get_models() if not model._meta.managed]
    states = map(ModelState.from_model, views)
    return [migrations.CreateModel(state.name, list(state.fields.items()), state.options) for state in states]


class Migration(QuickMigration):
    initial = True

    dependencies = [migrations.swappable_dependency(settings.AUTH_USER_MODEL)]

    operations = [
        # Companies.
        migrations.CreateModel(
            name="Company",
            fields=[
                ("code", models.CharField(max_length=4, primary_key=True, serialize=False)),
                ("name", models.CharField(max_length=100)),
                (
                    "closed_until",
                    models.DateField(blank=True, help_text="Last day of the closed fiscal periods.", null=True),
                ),
                (
                    "payment_tolerance",
                    models.DecimalField(
                        decimal_places=4,
                        default=0,
                        help_text=(
                            "How far payments may differ from the total of a sale where no payment"
                            " rounding applies, in hundreds of the currency's smallest unit: 0.50 is"
                            " 50 cents, 50 yen or 50 fils."
                        ),
                        max_digits=18,
                    ),
                ),
                ("change_no", models.BigIntegerField(db_default=0, default=0, editable=False)),
            ],
            options={
                "verbose_name_plural": "companies",
                "db_table": "company",
                "ordering": ["code"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("payment_tolerance__gte", 0)), name="a_tolerance_is_not_negative"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="NumberSequence",
            fields=[
                (
                    "company",
                    models.OneToOneField(
                        on_delete=models.PROTECT, primary_key=True, serialize=False, to="stores.company"
                    ),
                ),
                (
                    "format",
                    models.CharField(
                        help_text="One run of # stands for the number, the rest stays: C-###### or 00####.",
                        max_length=20,
                        validators=[check_format],
                    ),
                ),
                (
                    "start",
                    models.BigIntegerField(default=1, help_text="The number issued first.", verbose_name="smallest"),
                ),
                ("largest", models.BigIntegerField(help_text="The number issued last.")),
                ("next", models.BigIntegerField(help_text="The number that the next customer gets.")),
            ],
            options={
                "db_table": "number_sequence",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("next__gte", models.F("start")), ("start__gte", 0)),
                        name="next_number_is_in_range",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("next__lte", CombinedExpression(models.F("largest"), "+", models.Value(1)))
                        ),
                        name="no_number_beyond_the_largest",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("format__regex", "^[A-Z0-9./-]*#+[A-Z0-9./-]*$")),
                        name="number_format_has_one_run",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="OrderSequence",
            fields=[
                (
                    "company",
                    models.OneToOneField(
                        on_delete=models.PROTECT, primary_key=True, serialize=False, to="stores.company"
                    ),
                ),
                ("order_format", models.CharField(default="SO-######", max_length=20)),
                ("invoice_format", models.CharField(default="INV-######", max_length=20)),
                ("next_order", models.BigIntegerField(default=1)),
                ("next_invoice", models.BigIntegerField(default=1)),
            ],
            options={
                "db_table": "order_sequence",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("next_invoice__gte", 1), ("next_order__gte", 1)),
                        name="orders_and_invoices_are_numbered_from_one",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="PaymentRounding",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "company",
                    models.ForeignKey(
                        db_index=False, on_delete=models.PROTECT, related_name="payment_roundings", to="stores.company"
                    ),
                ),
                (
                    "currency",
                    models.CharField(
                        max_length=3, validators=[RegexValidator("\\A[A-Z]{3}\\Z", "Three capital letters.")]
                    ),
                ),
                (
                    "tender_type",
                    models.CharField(
                        blank=True,
                        help_text="As tills write it, such as cash; empty for all others.",
                        max_length=20,
                        verbose_name="tender",
                    ),
                ),
                (
                    "rounding_unit",
                    models.DecimalField(
                        decimal_places=4,
                        default=0,
                        help_text="The smallest coin: 0.05 rounds to the nearest multiple. 0 for none.",
                        max_digits=18,
                    ),
                ),
                (
                    "tolerance",
                    models.DecimalField(
                        decimal_places=4,
                        default=0,
                        help_text=(
                            "How far payments may differ in addition to the rounding, in this"
                            " currency. It replaces the company's tolerance."
                        ),
                        max_digits=18,
                    ),
                ),
            ],
            options={
                "db_table": "payment_rounding",
                "ordering": ["company", "currency", "tender_type"],
                "constraints": [
                    models.UniqueConstraint(
                        models.F("company"),
                        models.F("currency"),
                        Lower("tender_type"),
                        name="a_tender_is_rounded_in_one_way",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("rounding_unit__gte", 0), ("tolerance__gte", 0)),
                        name="no_rounding_is_negative",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="AttributeDefinition",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "company",
                    models.ForeignKey(
                        on_delete=models.PROTECT, related_name="attribute_definitions", to="stores.company"
                    ),
                ),
                ("name", models.CharField(max_length=60)),
                (
                    "data_type",
                    models.CharField(
                        choices=[
                            ("text", "Text"),
                            ("decimal", "Decimal number"),
                            ("integer", "Whole number"),
                            ("boolean", "Yes or no"),
                            ("currency", "Amount of money"),
                        ],
                        default="text",
                        max_length=8,
                    ),
                ),
                (
                    "options",
                    models.JSONField(blank=True, default=list, help_text="The allowed values; empty: any of the type."),
                ),
                ("smallest", models.DecimalField(blank=True, decimal_places=4, max_digits=18, null=True)),
                ("largest", models.DecimalField(blank=True, decimal_places=4, max_digits=18, null=True)),
            ],
            options={
                "db_table": "attribute_definition",
                "ordering": ["company", "name"],
                "constraints": [
                    models.UniqueConstraint(fields=("company", "name"), name="attribute_is_defined_once"),
                    models.CheckConstraint(
                        condition=models.Q(("data_type__in", ["text", "decimal", "integer", "boolean", "currency"])),
                        name="attribute_type_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("smallest", None),
                            ("largest", None),
                            ("smallest__lte", models.F("largest")),
                            _connector="OR",
                        ),
                        name="an_attribute_has_values",
                    ),
                ],
            },
        ),
        # Customers.
        migrations.CreateModel(
            name="Customer",
            fields=[
                ("customer_type", models.CharField(max_length=12, null=True)),
                ("first_name", models.CharField(max_length=60, null=True)),
                ("middle_name", models.CharField(max_length=60, null=True)),
                ("last_name", models.CharField(max_length=60, null=True)),
                ("name", models.CharField(max_length=300, null=True)),
                ("title", models.CharField(max_length=20, null=True)),
                ("language", models.CharField(max_length=7, null=True)),
                ("currency", models.CharField(max_length=3, null=True)),
                ("customer_group", models.CharField(max_length=20, null=True)),
                ("email", models.CharField(max_length=255, null=True)),
                ("phone", models.CharField(max_length=60, null=True)),
                ("receipt_email", models.CharField(max_length=255, null=True)),
                ("vat_number", models.CharField(max_length=30, null=True)),
                ("birth_date", models.DateField(null=True)),
                ("event_at", models.DateTimeField(db_default=Now())),
                ("event_database", models.IntegerField(null=True)),
                ("event_generation", models.IntegerField(null=True)),
                ("event_counter", models.BigIntegerField(null=True)),
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "company",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.PROTECT,
                        related_name="customers",
                        to="stores.company",
                    ),
                ),
                ("account_number", models.CharField(max_length=20)),
                (
                    "number",
                    models.BigIntegerField(
                        help_text="Place in the number sequence; none if the sequence did not issue it.", null=True
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[("active", "Active"), ("erased", "Erased"), ("void", "Void")],
                        db_default="active",
                        max_length=8,
                    ),
                ),
                ("is_blocked", models.BooleanField(db_default=False)),
                ("is_active", models.BooleanField(db_default=True)),
                ("hq_version", models.BigIntegerField(db_default=1)),
                ("change_no", models.BigIntegerField(editable=False, null=True)),
                ("created_at", models.DateTimeField(db_default=Now())),
                ("modified_at", models.DateTimeField(db_default=Now())),
            ],
            options={
                "db_table": "customer",
                "permissions": [("export", "Can have lists as CSV")],
                "indexes": [
                    models.Index(condition=models.Q(("is_active", False)), fields=["id"], name="customer_inactive"),
                    models.Index(condition=models.Q(("state", "erased")), fields=["company"], name="customer_erased"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("company", "account_number"), name="account_is_unique_in_its_company"
                    ),
                    models.UniqueConstraint(fields=("company", "number"), name="number_is_issued_once_in_its_company"),
                    models.UniqueConstraint(
                        fields=("company", "change_no"), name="a_change_number_is_given_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ["active", "erased", "void"])), name="account_state_is_known"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="CustomerAddress",
            fields=[
                ("purpose", models.CharField(max_length=10, null=True)),
                ("description", models.CharField(max_length=60, null=True)),
                ("street", models.CharField(max_length=250, null=True)),
                ("street_number", models.CharField(max_length=20, null=True)),
                ("building", models.CharField(max_length=60, null=True)),
                ("city", models.CharField(max_length=60, null=True)),
                ("county", models.CharField(max_length=10, null=True)),
                ("state", models.CharField(max_length=10, null=True)),
                ("postal_code", models.CharField(max_length=10, null=True)),
                ("country", models.CharField(max_length=3, null=True)),
                ("is_primary", models.BooleanField(null=True)),
                ("event_at", models.DateTimeField(db_default=Now())),
                ("event_database", models.IntegerField(null=True)),
                ("event_generation", models.IntegerField(null=True)),
                ("event_counter", models.BigIntegerField(null=True)),
                ("is_active", models.BooleanField(db_default=True)),
                ("hq_version", models.BigIntegerField(db_default=1)),
                ("address_id", models.UUIDField(primary_key=True, serialize=False)),
                (
                    "customer",
                    models.ForeignKey(
                        db_constraint=False, on_delete=models.PROTECT, related_name="addresses", to="stores.customer"
                    ),
                ),
            ],
            options={
                "db_table": "customer_address",
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("is_active", True), ("is_primary", True)),
                        fields=("customer", "purpose"),
                        name="one_primary_address_per_purpose",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="CustomerContact",
            fields=[
                ("kind", models.CharField(max_length=5, null=True)),
                ("locator", models.CharField(max_length=255, null=True)),
                ("description", models.CharField(max_length=60, null=True)),
                ("is_primary", models.BooleanField(null=True)),
                ("marketing_opt_in", models.BooleanField(null=True)),
                ("event_at", models.DateTimeField(db_default=Now())),
                ("event_database", models.IntegerField(null=True)),
                ("event_generation", models.IntegerField(null=True)),
                ("event_counter", models.BigIntegerField(null=True)),
                ("is_active", models.BooleanField(db_default=True)),
                ("hq_version", models.BigIntegerField(db_default=1)),
                ("contact_id", models.UUIDField(primary_key=True, serialize=False)),
                (
                    "customer",
                    models.ForeignKey(
                        db_constraint=False, on_delete=models.PROTECT, related_name="contacts", to="stores.customer"
                    ),
                ),
            ],
            options={
                "db_table": "customer_contact",
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("is_active", True), ("is_primary", True)),
                        fields=("customer", "kind"),
                        name="one_primary_contact_per_kind",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="CustomerAffiliation",
            fields=[
                ("event_at", models.DateTimeField(db_default=Now())),
                ("event_database", models.IntegerField(null=True)),
                ("event_generation", models.IntegerField(null=True)),
                ("event_counter", models.BigIntegerField(null=True)),
                ("is_active", models.BooleanField(db_default=True)),
                ("hq_version", models.BigIntegerField(db_default=1)),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "customer_id", "affiliation", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "customer",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.PROTECT,
                        related_name="affiliations",
                        to="stores.customer",
                    ),
                ),
                ("affiliation", models.CharField(max_length=20)),
            ],
            options={"db_table": "customer_affiliation"},
        ),
        migrations.CreateModel(
            name="CustomerAttribute",
            fields=[
                ("event_at", models.DateTimeField(db_default=Now())),
                ("event_database", models.IntegerField(null=True)),
                ("event_generation", models.IntegerField(null=True)),
                ("event_counter", models.BigIntegerField(null=True)),
                ("is_active", models.BooleanField(db_default=True)),
                ("hq_version", models.BigIntegerField(db_default=1)),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "customer_id", "attribute", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "customer",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.PROTECT,
                        related_name="attributes",
                        to="stores.customer",
                    ),
                ),
                ("attribute", models.CharField(max_length=60)),
                ("value", models.TextField(max_length=1000, null=True)),
            ],
            options={"db_table": "customer_attribute"},
        ),
        # Channels.
        migrations.CreateModel(
            name="ChannelDatabaseGroup",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=60, unique=True)),
            ],
            options={"db_table": "channel_database_group", "ordering": ["name"]},
        ),
        migrations.CreateModel(
            name="Channel",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "code",
                    models.CharField(
                        max_length=12,
                        unique=True,
                        validators=[RegexValidator("^[A-Za-z0-9][A-Za-z0-9_-]*$", (
                            "Letters, digits, - and _ only."
                        ))],
                    ),
                ),
                ("name", models.CharField(max_length=100)),
                (
                    "kind",
                    models.CharField(
                        choices=[("store", "Store"), ("online", "Online"), ("call_center", "Call center")],
                        default="store",
                        max_length=12,
                    ),
                ),
                ("company", models.ForeignKey(on_delete=models.PROTECT, related_name="channels", to="stores.company")),
                (
                    "default_customer",
                    models.ForeignKey(
                        blank=True,
                        help_text="New customers inherit group, currency, language and affiliations from it.",
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="+",
                        to="stores.customer",
                    ),
                ),
                (
                    "country",
                    models.CharField(
                        blank=True,
                        help_text="Three letters (NLD); used for addresses without a country.",
                        max_length=3,
                    ),
                ),
                ("profile", models.CharField(blank=True, help_text="Functionality profile.", max_length=60)),
                (
                    "time_zone",
                    models.CharField(
                        default="UTC",
                        help_text="The store's time zone, for example Europe/Amsterdam.",
                        max_length=40,
                        validators=[check_time_zone],
                    ),
                ),
                (
                    "day_ends_at",
                    models.TimeField(
                        default=datetime.time(0, 0),
                        help_text="Sales before this hour belong to the business date of the day before.",
                    ),
                ),
                (
                    "statement_mode",
                    models.CharField(
                        choices=[("end_of_day", "After the business date has ended"), ("trickle_feed", "All day long")],
                        default="trickle_feed",
                        help_text="Cannot be changed while a statement of the channel is open.",
                        max_length=12,
                    ),
                ),
                (
                    "hold_code",
                    models.CharField(
                        default="SYNC-ERROR",
                        help_text=(
                            "Corrected orders are put on hold with this code until someone"
                            " releases them."
                        ),
                        max_length=20,
                    ),
                ),
                ("is_enabled", models.BooleanField(default=True, help_text=(
                    "If off, jobs skip the channel."
                ))),
                ("created_at", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "db_table": "channel",
                "ordering": ["code"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("statement_mode__in", ["end_of_day", "trickle_feed"])),
                        name="statement_mode_is_known",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="ChannelDatabase",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("channel", models.ForeignKey(on_delete=models.PROTECT, related_name="databases", to="stores.channel")),
                ("name", models.CharField(blank=True, help_text=(
                    "Register; empty for the channel's own database."
                ), max_length=40)),
                (
                    "group",
                    models.ForeignKey(
                        on_delete=models.PROTECT, related_name="databases", to="stores.channeldatabasegroup"
                    ),
                ),
                ("url", models.CharField(max_length=500)),
                ("database_id", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("generation", models.PositiveIntegerField(default=1, editable=False)),
                ("staged", models.JSONField(db_default={}, default=dict, editable=False)),
                ("confirmed_epoch", models.BigIntegerField(db_default=0, editable=False)),
                ("confirmed_nonce", models.UUIDField(editable=False, null=True)),
                ("intended_epoch", models.BigIntegerField(editable=False, null=True)),
                ("intended_nonce", models.UUIDField(editable=False, null=True)),
                ("fenced_at", models.DateTimeField(editable=False, null=True)),
                ("position", models.BigIntegerField(db_default=0, default=0, editable=False)),
                (
                    "started_over_by",
                    models.ForeignKey(
                        editable=False, null=True, on_delete=models.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                ("received_no", models.BigIntegerField(db_default=0, default=0, editable=False)),
                ("starts_over", models.BooleanField(db_default=False, default=False, editable=False)),
                (
                    "strict_order",
                    models.BooleanField(
                        db_default=False,
                        default=False,
                        help_text="A package that the database refuses in part holds up all later ones.",
                    ),
                ),
                ("held_since", models.DateTimeField(editable=False, null=True)),
                (
                    "held_by",
                    models.ForeignKey(
                        editable=False,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("hold_reason", models.CharField(blank=True, db_default="", editable=False, max_length=300)),
                ("resumed_at", models.DateTimeField(editable=False, null=True)),
                ("recognised_start", models.DateTimeField(editable=False, null=True)),
                ("failed_start", models.DateTimeField(editable=False, null=True)),
                ("is_enabled", models.BooleanField(default=True)),
                ("last_visited_at", models.DateTimeField(editable=False, null=True)),
                ("last_error", MessageField()),
                ("last_duration_s", models.FloatField(editable=False, null=True)),
                ("failures", models.PositiveIntegerField(db_default=0, editable=False)),
                ("failed_step", models.CharField(blank=True, db_default="", editable=False, max_length=12)),
                ("next_try_at", models.DateTimeField(editable=False, null=True)),
            ],
            options={
                "db_table": "channel_database",
                "ordering": ["channel__code", "name"],
                "constraints": [
                    models.UniqueConstraint(fields=("channel", "name"), name="one_database_per_register"),
                    models.UniqueConstraint(fields=("url",), name="a_database_belongs_to_one_channel"),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("intended_epoch__isnull", True), ("intended_nonce__isnull", True)),
                            models.Q(
                                ("intended_epoch__gt", models.F("confirmed_epoch")), ("intended_nonce__isnull", False)
                            ),
                            _connector="OR",
                        ),
                        name="an_intention_is_ahead_of_what_is_confirmed",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("held_by__isnull", True), ("held_since__isnull", True), ("hold_reason", "")),
                            models.Q(
                                ("held_since__isnull", False), models.Q(("hold_reason", ""), _negated=True)
                            ),
                            _connector="OR",
                        ),
                        name="downloads_are_held_for_a_reason",
                    ),
                ],
            },
        ),
        # Runs and sessions.
        migrations.CreateModel(
            name="JobRun",
            fields=[
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("queued", "Queued"),
                            ("running", "Running"),
                            ("succeeded", "Succeeded"),
                            ("nothing_to_do", "Nothing to do"),
                            ("partly", "Partly"),
                            ("failed", "Failed"),
                            ("busy", "Busy"),
                            ("cancelled", "Cancelled"),
                        ],
                        default="queued",
                        max_length=13,
                    ),
                ),
                ("started_at", models.DateTimeField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
                ("id", models.UUIDField(default=uuid.uuid4, primary_key=True, serialize=False)),
                ("job", models.CharField(max_length=40)),
                ("scope", models.CharField(default="*", max_length=500)),
                ("channels", models.JSONField(blank=True, default=list)),
                ("companies", models.JSONField(blank=True, default=list)),
                (
                    "business_date",
                    models.DateField(
                        blank=True, help_text="The only day whose sales it looks at; empty: every day.", null=True
                    ),
                ),
                (
                    "order_number",
                    models.CharField(
                        blank=True,
                        db_default="",
                        help_text="The only customer order it looks at, by its confirmation number; empty: all.",
                        max_length=50,
                    ),
                ),
                (
                    "started_by",
                    models.CharField(
                        choices=[
                            ("page", "Page"),
                            ("admin", "Admin"),
                            ("command", "Command"),
                            ("schedule", "Schedule"),
                        ],
                        default="command",
                        max_length=8,
                    ),
                ),
                (
                    "requested_by",
                    models.ForeignKey(
                        blank=True, null=True, on_delete=models.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                ("stage", models.PositiveSmallIntegerField(default=0)),
                ("created_at", models.DateTimeField(db_default=Now())),
                ("cancel_requested_at", models.DateTimeField(null=True)),
                ("counts", models.JSONField(default=dict)),
                ("message", MessageField()),
                ("steps_removed_at", models.DateTimeField(null=True)),
                ("error", models.TextField(blank=True, help_text="Technical detail of an unforeseen failure.")),
            ],
            options={
                "db_table": "job_run",
                "permissions": [("run_job", "Can run jobs"), ("control_job", "Can cancel runs")],
                "indexes": [
                    models.Index(fields=["created_at", "id"], name="job_run_newest"),
                    models.Index(fields=["job", "created_at", "id"], name="job_run_newest_of_job"),
                    models.Index(
                        condition=models.Q(("steps_removed_at", None)),
                        fields=["ended_at"],
                        name="job_run_with_steps",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("status__in", ("queued", "running"))),
                        fields=("job", "scope"),
                        name="one_live_run_per_job_and_scope",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "status__in",
                                [
                                    "queued",
                                    "running",
                                    "succeeded",
                                    "nothing_to_do",
                                    "partly",
                                    "failed",
                                    "busy",
                                    "cancelled",
                                ],
                            )
                        ),
                        name="run_status_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("ended_at__isnull", True), ("status__in", ("queued", "running"))),
                            models.Q(
                                models.Q(("status__in", ("queued", "running")), _negated=True),
                                ("ended_at__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="a_run_has_an_end_once_it_ended",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="RunStep",
            fields=[
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("queued", "Queued"),
                            ("running", "Running"),
                            ("succeeded", "Succeeded"),
                            ("nothing_to_do", "Nothing to do"),
                            ("partly", "Partly"),
                            ("failed", "Failed"),
                            ("busy", "Busy"),
                            ("cancelled", "Cancelled"),
                        ],
                        default="queued",
                        max_length=13,
                    ),
                ),
                ("started_at", models.DateTimeField(null=True)),
                ("ended_at", models.DateTimeField(null=True)),
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("run", models.ForeignKey(on_delete=models.CASCADE, related_name="steps", to="stores.jobrun")),
                ("position", models.PositiveIntegerField()),
                ("step", models.CharField(max_length=40)),
                ("stage", models.PositiveSmallIntegerField(default=1)),
                ("turn", models.PositiveIntegerField(default=1)),
                (
                    "database",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="+",
                        to="stores.channeldatabase",
                    ),
                ),
                (
                    "channel",
                    models.ForeignKey(
                        db_index=False, null=True, on_delete=models.PROTECT, related_name="+", to="stores.channel"
                    ),
                ),
                (
                    "company",
                    models.ForeignKey(
                        db_index=False, null=True, on_delete=models.PROTECT, related_name="+", to="stores.company"
                    ),
                ),
                ("fencing_no", models.BigIntegerField(null=True)),
                ("worker", models.CharField(blank=True, db_default="", max_length=60)),
                ("heartbeat_at", models.DateTimeField(null=True)),
                ("lease_until", models.DateTimeField(null=True)),
                ("moved_at", models.DateTimeField(null=True)),
                ("busy_since", models.DateTimeField(null=True)),
                ("losses", models.PositiveSmallIntegerField(default=0)),
                ("counts", models.JSONField(default=dict)),
                ("message", MessageField()),
            ],
            options={
                "db_table": "run_step",
                "ordering": ["run", "position"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("status__in", ("queued", "running"))), fields=["run"], name="live_steps"
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("run", "position"), name="one_step_per_position"),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "status__in",
                                [
                                    "queued",
                                    "running",
                                    "succeeded",
                                    "nothing_to_do",
                                    "partly",
                                    "failed",
                                    "busy",
                                    "cancelled",
                                ],
                            )
                        ),
                        name="step_status_is_known",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Schedule",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "job",
                    models.CharField(
                        choices=[
                            ("sync-orders", "Synchronize orders"),
                            ("eod", "End of day"),
                            ("verify", "Check the promises"),
                            ("reconcile", "Compare with the channels"),
                        ],
                        max_length=40,
                    ),
                ),
                (
                    "channel",
                    models.ForeignKey(
                        blank=True,
                        help_text="The only channel it runs for; empty for all channels.",
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="schedules",
                        to="stores.channel",
                    ),
                ),
                (
                    "group",
                    models.ForeignKey(
                        blank=True,
                        help_text="For the channels that have a database in this group.",
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="schedules",
                        to="stores.channeldatabasegroup",
                    ),
                ),
                ("is_enabled", models.BooleanField(default=True, help_text=(
                    "If off, it starts only by hand."
                ))),
                (
                    "at",
                    models.TimeField(
                        blank=True,
                        help_text="Time of day in UTC. If missed, it starts as soon as possible.",
                        null=True,
                        verbose_name="every day at",
                    ),
                ),
                (
                    "every_minutes",
                    models.PositiveIntegerField(
                        blank=True,
                        help_text="Instead of a time of day: from one start to the next.",
                        null=True,
                        validators=[MinValueValidator(1), MaxValueValidator(1440)],
                    ),
                ),
                ("started_on", models.DateField(blank=True, editable=False, null=True)),
                ("started_at", models.DateTimeField(editable=False, null=True)),
                (
                    "last_run",
                    models.ForeignKey(
                        editable=False,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="schedules",
                        to="stores.jobrun",
                    ),
                ),
            ],
            options={
                "db_table": "schedule",
                "ordering": ["at", "job", "id"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("job__in", ["sync-orders", "eod", "verify", "reconcile"])),
                        name="scheduled_job_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("at__isnull", False), ("every_minutes__isnull", True)),
                            models.Q(
                                ("at__isnull", True),
                                ("every_minutes__isnull", False),
                                ("every_minutes__range", (1, 1440)),
                            ),
                            _connector="OR",
                        ),
                        name="a_schedule_is_daily_or_recurring",
                        violation_error_message="Give either a time of day or minutes from start to start.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("channel__isnull", True), ("group__isnull", True), _connector="OR"),
                        name="a_schedule_is_for_a_channel_or_a_group",
                        violation_error_message="Choose a channel or a group, not both.",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("job", "verify"), _negated=True),
                            models.Q(("channel__isnull", True), ("group__isnull", True)),
                            _connector="OR",
                        ),
                        name="promises_are_checked_everywhere",
                        violation_error_message=(
                            "Promises are checked in all channels: choose none."
                        ),
                    ),
                    models.UniqueConstraint(
                        fields=("job", "channel", "group", "at", "every_minutes"),
                        name="nothing_is_scheduled_twice",
                        nulls_distinct=False,
                        violation_error_message="This schedule already exists.",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="UploadSession",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, primary_key=True, serialize=False)),
                (
                    "run",
                    models.ForeignKey(
                        null=True, on_delete=models.PROTECT, related_name="%(class)ss", to="stores.jobrun"
                    ),
                ),
                (
                    "database",
                    models.ForeignKey(on_delete=models.PROTECT, related_name="%(class)ss", to="stores.channeldatabase"),
                ),
                ("parts", models.PositiveIntegerField(default=0)),
                ("size_bytes", models.BigIntegerField(default=0)),
                ("message", MessageField()),
                ("started_at", models.DateTimeField(db_default=Now())),
                ("applied_at", models.DateTimeField(null=True)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("started", "Started"),
                            ("available", "Available"),
                            ("uploaded", "Uploaded"),
                            ("applied", "Applied"),
                            ("canceled", "Canceled"),
                            ("upload_failed", "Upload failed"),
                            ("apply_failed", "Apply failed"),
                        ],
                        default="started",
                        max_length=13,
                    ),
                ),
                ("read", models.BigIntegerField(default=0)),
                ("staged", models.BigIntegerField(default=0)),
                ("unchanged", models.BigIntegerField(default=0)),
                ("quarantined", models.BigIntegerField(default=0)),
                ("waiting", models.BigIntegerField(default=0)),
            ],
            options={
                "db_table": "upload_session",
                "ordering": ["-started_at", "-pk"],
                "abstract": False,
                "indexes": [models.Index(fields=["started_at", "id"], name="uploadsession_newest")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "status__in",
                                [
                                    "started",
                                    "available",
                                    "uploaded",
                                    "applied",
                                    "canceled",
                                    "upload_failed",
                                    "apply_failed",
                                ],
                            )
                        ),
                        name="upload_status_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "read",
                                CombinedExpression(
                                    CombinedExpression(
                                        CombinedExpression(models.F("staged"), "+", models.F("unchanged")),
                                        "+",
                                        models.F("quarantined"),
                                    ),
                                    "+",
                                    models.F("waiting"),
                                ),
                            )
                        ),
                        name="every_row_read_is_accounted_for",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Package",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("from_no", models.BigIntegerField()),
                ("to_no", models.BigIntegerField()),
                ("latest_no", models.BigIntegerField()),
                ("is_shortcut", models.BooleanField(default=False)),
                ("is_all_new", models.BooleanField(default=False)),
                ("customers", models.BigIntegerField()),
                ("rows", models.BigIntegerField()),
                ("size_bytes", models.BigIntegerField()),
                ("sha256", models.CharField(max_length=64)),
                ("made_at", models.DateTimeField(db_default=Now())),
                ("dropped_at", models.DateTimeField(null=True)),
                ("last_applied_at", models.DateTimeField(null=True)),
                (
                    "company",
                    models.ForeignKey(on_delete=models.PROTECT, related_name="packages", to="stores.company"),
                ),
                (
                    "run",
                    models.ForeignKey(
                        null=True, on_delete=models.PROTECT, related_name="packages", to="stores.jobrun"
                    ),
                ),
            ],
            options={
                "db_table": "package",
                "indexes": [
                    models.Index(fields=["company", "to_no"], name="package_end"),
                    GistIndex(ChangeRange(), name="package_range"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("from_no__gte", 0),
                            ("from_no__lt", models.F("to_no")),
                            ("to_no__lte", models.F("latest_no")),
                        ),
                        name="a_package_has_a_range",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("is_shortcut", False)),
                        fields=("company", "from_no"),
                        name="the_chain_never_forks",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("dropped_at", None)),
                        fields=("company", "from_no", "to_no"),
                        name="a_range_is_packed_once",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="PackageTable",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "package_id", "name", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("name", models.CharField(max_length=40)),
                ("position", models.PositiveSmallIntegerField()),
                ("rows", models.BigIntegerField()),
                ("data", models.TextField()),
                (
                    "package",
                    models.ForeignKey(
                        db_index=False, on_delete=models.CASCADE, related_name="tables", to="stores.package"
                    ),
                ),
            ],
            options={"db_table": "package_table"},
        ),
        migrations.CreateModel(
            name="DownloadSession",
            fields=[
                ("id", models.UUIDField(default=uuid.uuid4, primary_key=True, serialize=False)),
                (
                    "run",
                    models.ForeignKey(
                        null=True, on_delete=models.PROTECT, related_name="%(class)ss", to="stores.jobrun"
                    ),
                ),
                (
                    "database",
                    models.ForeignKey(on_delete=models.PROTECT, related_name="%(class)ss", to="stores.channeldatabase"),
                ),
                ("parts", models.PositiveIntegerField(default=0)),
                ("size_bytes", models.BigIntegerField(default=0)),
                ("message", MessageField()),
                ("started_at", models.DateTimeField(db_default=Now())),
                ("applied_at", models.DateTimeField(null=True)),
                (
                    "package",
                    models.ForeignKey(
                        null=True, on_delete=models.PROTECT, related_name="sessions", to="stores.package"
                    ),
                ),
                ("sends_single_customers", models.BooleanField(db_default=False, default=False)),
                ("tries", models.PositiveIntegerField(db_default=0, default=0)),
                (
                    "changed_by",
                    models.ForeignKey(
                        null=True, on_delete=models.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                ("requested_at", models.DateTimeField(null=True)),
                ("downloaded_at", models.DateTimeField(null=True)),
                ("partly_applied_at", models.DateTimeField(null=True)),
                ("job", models.CharField(default="1010", max_length=20)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("started", "Started"),
                            ("available", "Available"),
                            ("requested", "Requested"),
                            ("downloaded", "Downloaded"),
                            ("applied", "Applied"),
                            ("canceled", "Canceled"),
                            ("create_failed", "Create failed"),
                            ("download_failed", "Download failed"),
                            ("apply_failed", "Apply failed"),
                            ("no_data", "No data"),
                            ("suspended", "Suspended"),
                        ],
                        default="started",
                        max_length=15,
                    ),
                ),
                ("customers", models.BigIntegerField(default=0)),
                ("rows", models.BigIntegerField(default=0)),
            ],
            options={
                "db_table": "download_session",
                "ordering": ["-started_at", "-pk"],
                "abstract": False,
                "indexes": [models.Index(fields=["started_at", "id"], name="downloadsession_newest")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "status__in",
                                [
                                    "started",
                                    "available",
                                    "requested",
                                    "downloaded",
                                    "applied",
                                    "canceled",
                                    "create_failed",
                                    "download_failed",
                                    "apply_failed",
                                    "no_data",
                                    "suspended",
                                ],
                            )
                        ),
                        name="download_status_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("package__isnull", False),
                                ("sends_single_customers", False),
                                models.Q(
                                    ("status__in", ("started", "create_failed", "no_data")), _negated=True
                                ),
                            ),
                            models.Q(
                                ("package__isnull", True),
                                ("sends_single_customers", True),
                                models.Q(
                                    ("status__in", ("started", "create_failed", "no_data")), _negated=True
                                ),
                            ),
                            models.Q(
                                ("package__isnull", True),
                                ("sends_single_customers", False),
                                ("status__in", ("started", "create_failed", "no_data", "canceled")),
                            ),
                            _connector="OR",
                        ),
                        name="a_session_sends_a_package_or_customers",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("status__in", ("started", "create_failed", "no_data"))),
                        fields=("database",),
                        name="one_package_is_made_for_a_database",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(
                            (
                                "status__in",
                                (
                                    "available",
                                    "requested",
                                    "downloaded",
                                    "download_failed",
                                    "apply_failed",
                                    "suspended",
                                ),
                            )
                        ),
                        fields=("database", "package"),
                        name="a_package_is_offered_once",
                        nulls_distinct=False,
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="DownloadRange",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("is_shortcut", models.BooleanField()),
                ("from_no", models.BigIntegerField()),
                ("to_no", models.BigIntegerField()),
                ("latest_no", models.BigIntegerField()),
                ("first_applied_at", models.DateTimeField(null=True)),
                ("last_applied_at", models.DateTimeField()),
                ("sessions", models.BigIntegerField()),
                ("customers", models.BigIntegerField()),
                ("rows", models.BigIntegerField()),
                (
                    "database",
                    models.ForeignKey(
                        on_delete=models.PROTECT, related_name="download_ranges", to="stores.channeldatabase"
                    ),
                ),
            ],
            options={
                "db_table": "download_range",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("from_no__gte", 0),
                            ("from_no__lt", models.F("to_no")),
                            ("to_no__lte", models.F("latest_no")),
                        ),
                        name="a_range_has_an_end",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("first_applied_at__isnull", False),
                                ("first_applied_at__lte", models.F("last_applied_at")),
                                ("sessions__gt", 0),
                            ),
                            models.Q(
                                ("first_applied_at__isnull", True), ("is_shortcut", True), ("sessions", 0)
                            ),
                            _connector="OR",
                        ),
                        name="sessions_of_a_range_have_times",
                    ),
                    ExclusionConstraint(
                        condition=models.Q(("is_shortcut", False)),
                        expressions=[(DatabaseId(), "&&"), (ChangeRange(), "&&")],
                        name="ranges_of_the_chain_never_overlap",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Difference",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("step", models.ForeignKey(on_delete=models.CASCADE, related_name="differences", to="stores.runstep")),
                (
                    "what",
                    models.CharField(
                        choices=[
                            ("unknown_at_hq", "acknowledged and unknown to headquarters"),
                            ("gone_from_channel", "gone from the channel"),
                            ("changed", "events with other content than headquarters holds"),
                            ("without_header", "sales of which only lines or payments are there"),
                            ("foreign_account", "accounts that headquarters did not give"),
                            ("not_arrived", "customers that did not arrive"),
                            ("different", "rows of customers with other content than headquarters sent"),
                            ("not_sent", "rows of customers that headquarters did not send"),
                        ],
                        max_length=20,
                    ),
                ),
                ("table", models.CharField(max_length=40)),
                ("key", models.CharField(max_length=60)),
            ],
            options={"db_table": "difference", "ordering": ["id"]},
        ),
        # GUIDs and deliveries.
        migrations.CreateModel(
            name="GuidMap",
            fields=[
                ("async_account", models.UUIDField(primary_key=True, serialize=False)),
                (
                    "company",
                    models.ForeignKey(
                        db_constraint=False, db_index=False, on_delete=models.PROTECT, to="stores.company"
                    ),
                ),
                (
                    "customer",
                    models.ForeignKey(
                        db_constraint=False, on_delete=models.PROTECT, related_name="guids", to="stores.customer"
                    ),
                ),
                (
                    "origin",
                    models.CharField(
                        choices=[("created", "Created"), ("linked", "Linked")], db_default="created", max_length=7
                    ),
                ),
                (
                    "channel",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.PROTECT,
                        related_name="+",
                        to="stores.channel",
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="+",
                        to="stores.jobrun",
                    ),
                ),
                ("created_at", models.DateTimeField(db_default=Now())),
            ],
            options={
                "verbose_name": "GUID map",
                "verbose_name_plural": "GUID map",
                "db_table": "guid_map",
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("origin", "created")),
                        fields=("customer",),
                        name="one_guid_creates_an_account",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("origin__in", ["created", "linked"])), name="guid_origin_is_known"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="CustomerChange",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "customer_id", "change_no", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "customer",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.PROTECT,
                        related_name="changes",
                        to="stores.customer",
                    ),
                ),
                ("change_no", models.BigIntegerField()),
                ("version", models.BigIntegerField()),
                ("made_at", models.DateTimeField(db_default=Now())),
            ],
            options={"db_table": "customer_change"},
        ),
        migrations.CreateModel(
            name="DownloadException",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "reason",
                    models.CharField(
                        choices=[
                            ("refused", "The channel refuses it"),
                            ("not_arrived", "It was not in the channel"),
                            ("requested", "Asked for"),
                        ],
                        max_length=11,
                    ),
                ),
                ("holds_up", models.BooleanField(db_default=False, default=False)),
                ("message", MessageField()),
                ("since", models.DateTimeField(db_default=Now())),
                ("tries", models.PositiveIntegerField(default=0)),
                (
                    "requested_by",
                    models.ForeignKey(
                        null=True, on_delete=models.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                ("tried_at", models.DateTimeField(null=True)),
                ("settled_at", models.DateTimeField(null=True)),
                ("version", models.BigIntegerField(null=True)),
                (
                    "database",
                    models.ForeignKey(
                        on_delete=models.PROTECT, related_name="exceptions", to="stores.channeldatabase"
                    ),
                ),
                (
                    "customer",
                    models.ForeignKey(on_delete=models.PROTECT, related_name="exceptions", to="stores.customer"),
                ),
                (
                    "session",
                    models.ForeignKey(
                        null=True, on_delete=models.PROTECT, related_name="exceptions", to="stores.downloadsession"
                    ),
                ),
            ],
            options={
                "db_table": "download_exception",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("reason__in", ["refused", "not_arrived", "requested"])),
                        name="exception_reason_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("holds_up", False),
                            models.Q(("reason", "refused"), ("settled_at__isnull", True)),
                            _connector="OR",
                        ),
                        name="only_a_refused_customer_holds_up_others",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("settled_at", None)),
                        fields=("database", "customer"),
                        name="one_open_exception_per_customer",
                    ),
                ],
            },
        ),
        # Staging, and what in it needs a person.
        migrations.CreateModel(
            name="UploadBatch",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "company",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.PROTECT,
                        related_name="+",
                        to="stores.company",
                    ),
                ),
                (
                    "database",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="+",
                        to="stores.channeldatabase",
                    ),
                ),
                (
                    "session",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="+",
                        to="stores.uploadsession",
                    ),
                ),
                (
                    "number",
                    models.PositiveIntegerField(db_default=1, help_text="Place among the batches of its session."),
                ),
                ("rows", models.PositiveIntegerField(db_default=0)),
                ("staged_at", models.DateTimeField(db_default=Now())),
                ("converted_at", models.DateTimeField(null=True)),
                (
                    "run",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="+",
                        to="stores.jobrun",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "upload batches",
                "db_table": "upload_batch",
                "indexes": [
                    models.Index(
                        condition=models.Q(("converted_at__isnull", True)),
                        fields=["company", "id"],
                        name="upload_batch_unconverted",
                    ),
                    models.Index(
                        condition=models.Q(("session__isnull", False)), fields=["session"], name="upload_batch_session"
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("run__isnull", True), ("converted_at__isnull", False), _connector="OR"),
                        name="only_a_converted_batch_has_a_run",
                    )
                ],
            },
        ),
        staged_events(
            "Customer",
            [
                ("customer_type", models.CharField(max_length=12, null=True)),
                ("first_name", models.CharField(max_length=60, null=True)),
                ("middle_name", models.CharField(max_length=60, null=True)),
                ("last_name", models.CharField(max_length=60, null=True)),
                ("name", models.CharField(max_length=300, null=True)),
                ("title", models.CharField(max_length=20, null=True)),
                ("language", models.CharField(max_length=7, null=True)),
                ("currency", models.CharField(max_length=3, null=True)),
                ("customer_group", models.CharField(max_length=20, null=True)),
                ("email", models.CharField(max_length=255, null=True)),
                ("phone", models.CharField(max_length=60, null=True)),
                ("receipt_email", models.CharField(max_length=255, null=True)),
                ("vat_number", models.CharField(max_length=30, null=True)),
                ("birth_date", models.DateField(null=True)),
            ],
            indexes=[models.Index(fields=["staged_at", "event_id"], name="async_customer_newest")],
        ),
        staged_events(
            "Address",
            [
                ("purpose", models.CharField(max_length=10, null=True)),
                ("description", models.CharField(max_length=60, null=True)),
                ("street", models.CharField(max_length=250, null=True)),
                ("street_number", models.CharField(max_length=20, null=True)),
                ("building", models.CharField(max_length=60, null=True)),
                ("city", models.CharField(max_length=60, null=True)),
                ("county", models.CharField(max_length=10, null=True)),
                ("state", models.CharField(max_length=10, null=True)),
                ("postal_code", models.CharField(max_length=10, null=True)),
                ("country", models.CharField(max_length=3, null=True)),
                ("is_primary", models.BooleanField(null=True)),
            ],
            key=[
                ("address_id", models.UUIDField()),
            ],
        ),
        staged_events(
            "Contact",
            [
                ("kind", models.CharField(max_length=5, null=True)),
                ("locator", models.CharField(max_length=255, null=True)),
                ("description", models.CharField(max_length=60, null=True)),
                ("is_primary", models.BooleanField(null=True)),
                ("marketing_opt_in", models.BooleanField(null=True)),
            ],
            key=[
                ("contact_id", models.UUIDField()),
            ],
        ),
        staged_events(
            "Affiliation",
            [
            ],
            key=[
                ("affiliation", models.CharField(max_length=20)),
            ],
        ),
        staged_events(
            "Attribute",
            [
            ],
            key=[
                ("attribute", models.CharField(max_length=60)),
                ("value", models.TextField(max_length=1000, null=True)),
            ],
        ),
        migrations.CreateModel(
            name="OpenEvent",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "table", "event_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("table", models.CharField(max_length=40)),
                ("event_id", models.UUIDField()),
                (
                    "batch",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.PROTECT,
                        related_name="+",
                        to="stores.uploadbatch",
                    ),
                ),
                (
                    "company",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.PROTECT,
                        related_name="+",
                        to="stores.company",
                    ),
                ),
                ("async_account", models.UUIDField(null=True)),
                ("account_number", models.CharField(max_length=20, null=True)),
                ("status", models.CharField(choices=[("waiting", "Waiting"), ("failed", "Failed")], max_length=7)),
                ("reason", models.CharField(max_length=40, null=True)),
                ("field", models.CharField(max_length=40, null=True)),
                ("attempts", models.PositiveIntegerField(db_default=1)),
                ("last_tried_at", models.DateTimeField(db_default=Now())),
                ("released_at", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "open_event",
                "indexes": [
                    models.Index(fields=["async_account"], name="open_event_guid"),
                    models.Index(
                        condition=models.Q(("account_number__isnull", False)),
                        fields=["company", "account_number"],
                        name="open_event_account",
                    ),
                    models.Index(fields=["company", "status"], name="open_event_company"),
                    models.Index(fields=["table", "status", "reason"], name="open_event_reason"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("status__in", ["waiting", "failed"])), name="open_event_status_is_known"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status", "failed"), _negated=True),
                            models.Q(("reason__isnull", False), models.Q(("reason", ""), _negated=True)),
                            _connector="OR",
                        ),
                        name="a_failed_event_says_why",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("reason__isnull", False), ("released_at__isnull", True)),
                            models.Q(("reason__isnull", True), ("released_at__isnull", False), ("status", "waiting")),
                            _connector="OR",
                        ),
                        name="a_waiting_event_has_a_reason_or_was_released",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="SettledEvent",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "table", "event_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("table", models.CharField(max_length=40)),
                ("event_id", models.UUIDField()),
                (
                    "batch",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.PROTECT,
                        related_name="+",
                        to="stores.uploadbatch",
                    ),
                ),
                (
                    "outcome",
                    models.CharField(choices=[("applied", "Applied"), ("superseded", "Superseded")], max_length=10),
                ),
                ("reason", models.CharField(max_length=40, null=True)),
                (
                    "by_guid",
                    models.BooleanField(
                        db_default=False,
                        help_text="Belongs to the customer of its GUID, though it names another account.",
                    ),
                ),
                ("applied_at", models.DateTimeField(db_default=Now())),
                (
                    "run",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="+",
                        to="stores.jobrun",
                    ),
                ),
            ],
            options={
                "db_table": "settled_event",
                "indexes": [models.Index(fields=["batch"], name="settled_event_batch")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("outcome__in", ["applied", "superseded"])),
                        name="settled_event_outcome_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("reason__isnull", True),
                            models.Q(("outcome", "superseded"), ("reason", "corrected")),
                            _connector="OR",
                        ),
                        name="only_a_corrected_event_has_a_reason",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="FieldToCorrect",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "company",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.PROTECT,
                        related_name="+",
                        to="stores.company",
                    ),
                ),
                (
                    "database",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="+",
                        to="stores.channeldatabase",
                    ),
                ),
                ("event_id", models.UUIDField()),
                ("async_account", models.UUIDField(null=True)),
                (
                    "customer",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="fields_to_correct",
                        to="stores.customer",
                    ),
                ),
                ("field", models.CharField(max_length=40)),
                ("rule", models.CharField(max_length=40)),
                ("value", models.TextField(blank=True, db_default="")),
                ("since", models.DateTimeField(db_default=Now())),
                ("settled_at", models.DateTimeField(null=True)),
            ],
            options={
                "verbose_name_plural": "fields to correct",
                "db_table": "field_to_correct",
                "indexes": [
                    models.Index(
                        condition=models.Q(("settled_at", None)), fields=["company"], name="field_to_correct_open"
                    ),
                    models.Index(fields=["customer"], name="field_to_correct_customer"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("event_id", "field"), name="a_field_of_an_event_is_marked_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="EditConflict",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "customer",
                    models.ForeignKey(
                        db_constraint=False, on_delete=models.PROTECT, related_name="conflicts", to="stores.customer"
                    ),
                ),
                ("table", models.CharField(max_length=20)),
                ("key", models.CharField(blank=True, max_length=60)),
                ("field", models.CharField(max_length=40)),
                ("lost_value", models.TextField(blank=True)),
                ("kept_value", models.TextField(blank=True)),
                ("lost_event", models.UUIDField()),
                ("kept_event", models.UUIDField()),
                (
                    "lost_database",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="+",
                        to="stores.channeldatabase",
                    ),
                ),
                (
                    "kept_database",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="+",
                        to="stores.channeldatabase",
                    ),
                ),
                ("lost_at", models.DateTimeField()),
                ("kept_at", models.DateTimeField()),
                ("clock_skewed", models.BooleanField()),
                ("found_at", models.DateTimeField(db_default=Now())),
                ("closed_at", models.DateTimeField(null=True)),
                (
                    "closed_by",
                    models.ForeignKey(
                        null=True, on_delete=models.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "choice",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("rule", "Later edit kept"),
                            ("keep", "Kept value confirmed"),
                            ("take", "Other value used"),
                            ("back", "Brought back by an edit that had seen the removal"),
                        ],
                        max_length=4,
                    ),
                ),
                ("reason", models.CharField(blank=True, max_length=300)),
                ("made_event", models.UUIDField(null=True)),
            ],
            options={
                "db_table": "edit_conflict",
                "indexes": [
                    models.Index(
                        condition=models.Q(("closed_at__isnull", True)), fields=["id"], name="edit_conflict_open"
                    )
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("lost_event", "kept_event", "field"), name="two_edits_conflict_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("choice", ""), ("closed_at__isnull", True)),
                            models.Q(("choice__in", ["rule", "keep", "take", "back"]), ("closed_at__isnull", False)),
                            _connector="OR",
                        ),
                        name="conflict_is_closed_by_a_choice",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("choice", "rule"), _negated=True), ("clock_skewed", False), _connector="OR"
                        ),
                        name="no_rule_settles_a_wrong_clock",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("choice", "rule"), ("field", "is_active"), ("lost_value", "true"), _negated=True
                        ),
                        name="no_rule_undoes_a_removal",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("choice__in", ["keep", "take"]), _negated=True),
                            models.Q(("closed_by__isnull", False), models.Q(("reason", ""), _negated=True)),
                            _connector="OR",
                        ),
                        name="a_person_says_why",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("choice", "take"), ("made_event__isnull", False)),
                            models.Q(("made_event__isnull", True), models.Q(("choice", "take"), _negated=True)),
                            _connector="OR",
                        ),
                        name="a_taken_value_has_its_event",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Quarantine",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "database",
                    models.ForeignKey(on_delete=models.PROTECT, related_name="quarantine", to="stores.channeldatabase"),
                ),
                ("table", models.CharField(max_length=40)),
                ("row_key", models.CharField(help_text="The row's counter in its table.", max_length=80)),
                ("generation", models.IntegerField(db_default=1)),
                ("event_id", models.UUIDField(db_index=True, null=True)),
                ("async_account", models.UUIDField(db_index=True, null=True)),
                ("account_number", models.CharField(blank=True, db_default="", max_length=20)),
                ("payload_hash", models.BinaryField(max_length=32)),
                ("reason", models.CharField(max_length=40)),
                ("field", models.CharField(blank=True, max_length=40)),
                (
                    "rule",
                    models.CharField(blank=True, db_default="", help_text="What the field may hold.", max_length=120),
                ),
                ("raw", models.BinaryField()),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("open", "Open"),
                            ("released", "Released"),
                            ("dismissed", "Dismissed"),
                            ("superseded", "Superseded"),
                        ],
                        db_default="open",
                        max_length=10,
                    ),
                ),
                ("attempts", models.PositiveIntegerField(db_default=1)),
                (
                    "session",
                    models.ForeignKey(on_delete=models.PROTECT, related_name="quarantine", to="stores.uploadsession"),
                ),
                ("first_seen_at", models.DateTimeField(db_default=Now())),
                ("last_seen_at", models.DateTimeField(db_default=Now())),
                ("settled_at", models.DateTimeField(blank=True, null=True)),
                (
                    "settled_by",
                    models.ForeignKey(
                        blank=True, null=True, on_delete=models.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                ("settled_because", models.CharField(blank=True, db_default="", max_length=300)),
                ("became", models.UUIDField(blank=True, help_text="The event staged in its place.", null=True)),
            ],
            options={
                "verbose_name": "quarantined row",
                "verbose_name_plural": "quarantine",
                "db_table": "quarantine",
                "permissions": [
                    ("resolve_quarantine", "Can release and correct quarantined rows"),
                    ("dismiss_quarantine", "Can dismiss quarantined rows"),
                ],
                "indexes": [
                    models.Index(
                        condition=models.Q(("status", "open")),
                        fields=["database", "table", "reason", "field"],
                        name="quarantine_open_causes",
                    ),
                    models.Index(
                        condition=models.Q(("status", "open")), fields=["reason", "id"], name="quarantine_open"
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("database", "table", "row_key", "payload_hash"), name="a_bad_row_is_kept_once"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("reason", ""), _negated=True), name="quarantine_has_a_reason"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("status__in", ["open", "released", "dismissed", "superseded"])),
                        name="quarantine_status_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("settled_at__isnull", True), ("status", "open")),
                            models.Q(models.Q(("status", "open"), _negated=True), ("settled_at__isnull", False)),
                            _connector="OR",
                        ),
                        name="a_settled_row_says_since_when",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("status", "dismissed"), _negated=True),
                            models.Q(("settled_because", ""), _negated=True),
                            _connector="OR",
                        ),
                        name="a_row_is_dismissed_with_a_reason",
                    ),
                ],
            },
        ),
        # Statements, orders and sales.
        migrations.CreateModel(
            name="Statement",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "company",
                    models.ForeignKey(db_index=False, on_delete=models.PROTECT, related_name="+", to="stores.company"),
                ),
                (
                    "channel",
                    models.ForeignKey(on_delete=models.PROTECT, related_name="statements", to="stores.channel"),
                ),
                ("business_date", models.DateField()),
                (
                    "sequence",
                    models.PositiveIntegerField(default=1, help_text="1: of the day itself; higher: supplementary."),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("started", "Started"),
                            ("marked", "Marked"),
                            ("calculated", "Calculated"),
                            ("checked", "Checked"),
                            ("aggregated", "Aggregated"),
                            ("orders_created", "Customer orders created"),
                            ("invoiced", "Invoiced"),
                            ("payments_posted", "Payments posted"),
                            ("posted", "Posted"),
                            ("cancelled", "Cancelled"),
                        ],
                        db_default="started",
                        max_length=15,
                    ),
                ),
                ("reason", models.CharField(blank=True, db_default="statement_not_calculated", max_length=40)),
                ("message", MessageField()),
                ("attempts", models.PositiveIntegerField(db_default=0)),
                ("created_at", models.DateTimeField(db_default=Now())),
                ("calculated_at", models.DateTimeField(null=True)),
                ("posted_at", models.DateTimeField(null=True)),
                (
                    "content_hash",
                    models.BinaryField(help_text="Over all rows of a posted statement.", max_length=32, null=True),
                ),
            ],
            options={
                "db_table": "statement",
                "permissions": [
                    ("calc_statement", "Can calculate statements"),
                    ("post_statement", "Can post statements"),
                    ("cancel_statement", "Can cancel statements that are not posted"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("channel", "business_date", "sequence"), name="one_statement_per_sequence"
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("state__in", ("posted", "cancelled")), _negated=True),
                        fields=("channel", "business_date"),
                        name="one_open_statement_per_day",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "state__in",
                                [
                                    "started",
                                    "marked",
                                    "calculated",
                                    "checked",
                                    "aggregated",
                                    "orders_created",
                                    "invoiced",
                                    "payments_posted",
                                    "posted",
                                    "cancelled",
                                ],
                            )
                        ),
                        name="statement_state_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("state", "posted"), _negated=True),
                            models.Q(("content_hash__isnull", False), ("posted_at__isnull", False)),
                            _connector="OR",
                        ),
                        name="a_posted_statement_is_sealed",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("state__in", ("posted", "cancelled")),
                            models.Q(("reason", ""), _negated=True),
                            _connector="OR",
                        ),
                        name="an_open_statement_says_why",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="SalesOrder",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "company",
                    models.ForeignKey(db_index=False, on_delete=models.PROTECT, related_name="+", to="stores.company"),
                ),
                (
                    "channel",
                    models.ForeignKey(db_index=False, on_delete=models.PROTECT, related_name="sales_orders", to="stores.channel"),
                ),
                ("number", models.CharField(max_length=20)),
                ("invoice_number", models.CharField(max_length=20, null=True)),
                (
                    "confirmation_number",
                    models.CharField(
                        help_text="The till's own; none on an order of a statement.", max_length=50, null=True
                    ),
                ),
                (
                    "statement",
                    models.ForeignKey(
                        null=True, on_delete=models.PROTECT, related_name="sales_orders", to="stores.statement"
                    ),
                ),
                (
                    "customer",
                    models.ForeignKey(on_delete=models.PROTECT, related_name="sales_orders", to="stores.customer"),
                ),
                (
                    "delivery_address",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="+",
                        to="stores.customeraddress",
                    ),
                ),
                ("delivery_mode", models.CharField(max_length=10, null=True)),
                ("business_date", models.DateField()),
                ("currency", models.CharField(max_length=3)),
                ("net_amount", MoneyField(decimal_places=4, max_digits=18)),
                ("tax_amount", MoneyField(decimal_places=4, max_digits=18)),
                ("gross_amount", MoneyField(decimal_places=4, max_digits=18)),
                ("discount_amount", MoneyField(decimal_places=4, max_digits=18)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("open", "Open"),
                            ("on_hold", "On hold"),
                            ("invoiced", "Invoiced"),
                            ("cancelled", "Cancelled"),
                        ],
                        db_default="open",
                        max_length=9,
                    ),
                ),
                ("hold_code", models.CharField(max_length=20, null=True)),
                ("released_at", models.DateTimeField(null=True)),
                (
                    "released_by",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "run",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="sales_orders",
                        to="stores.jobrun",
                    ),
                ),
                ("created_at", models.DateTimeField(db_default=Now())),
                ("invoiced_at", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "sales_order",
                "permissions": [("release_hold", "Can release orders on hold")],
                "indexes": [
                    models.Index(condition=models.Q(("state", "on_hold")), fields=["id"], name="order_on_hold"),
models.Index(condition=models.Q(("state", "cancelled")), fields=["id"], name="order_cancelled"),
models.Index(fields=["channel", "id"], name="order_of_channel"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("company", "number"), name="an_order_number_is_issued_once"),
                    models.UniqueConstraint(
                        condition=models.Q(("invoice_number__isnull", False)),
                        fields=("company", "invoice_number"),
                        name="an_invoice_number_is_issued_once",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("confirmation_number__isnull", False)),
                        fields=("channel", "confirmation_number"),
                        name="one_order_per_confirmation_number",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("statement__isnull", False)),
                        fields=("statement", "customer", "currency"),
                        name="one_order_per_customer_of_a_statement",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ["open", "on_hold", "invoiced", "cancelled"])),
                        name="sales_order_state_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("confirmation_number__isnull", False), ("statement__isnull", True)),
                            models.Q(("confirmation_number__isnull", True), ("statement__isnull", False)),
                            _connector="OR",
                        ),
                        name="an_order_is_of_a_till_or_of_a_statement",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("released_at__isnull", True), ("released_by__isnull", True)),
                            models.Q(("released_at__isnull", False), ("released_by__isnull", False)),
                            _connector="OR",
                        ),
                        name="a_released_order_says_when_and_by_whom",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("state", "on_hold"), _negated=True), ("hold_code__isnull", False), _connector="OR"
                        ),
                        name="a_held_order_has_its_code",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("invoice_number__isnull", True), ("invoiced_at__isnull", True)),
                            models.Q(("invoice_number__isnull", False), ("invoiced_at__isnull", False)),
                            _connector="OR",
                        ),
                        name="an_invoice_has_a_number_and_a_time",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("invoice_number__isnull", False), ("state", "invoiced")),
                            ("state", "cancelled"),
                            models.Q(
                                models.Q(("state__in", ["invoiced", "cancelled"]), _negated=True),
                                ("invoice_number__isnull", True),
                            ),
                            _connector="OR",
                        ),
                        name="an_invoice_belongs_to_an_invoiced_order",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="RetailTransaction",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("event_id", models.UUIDField(unique=True)),
                (
                    "origin",
                    models.CharField(
                        choices=[("till", "Till"), ("hq", "Headquarters")], db_default="till", max_length=4
                    ),
                ),
                (
                    "database",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="transactions",
                        to="stores.channeldatabase",
                    ),
                ),
                (
                    "channel",
                    models.ForeignKey(db_index=False, on_delete=models.PROTECT, related_name="transactions", to="stores.channel"),
                ),
                (
                    "company",
                    models.ForeignKey(db_index=False, on_delete=models.PROTECT, related_name="+", to="stores.company"),
                ),
                ("generation", models.IntegerField(db_default=1)),
                ("replication_counter", models.BigIntegerField()),
                ("occurred_at", models.DateTimeField()),
                ("async_account", models.UUIDField(null=True)),
                ("account_number", models.CharField(max_length=20, null=True)),
                ("staff_id", models.CharField(max_length=25, null=True)),
                ("terminal_id", models.CharField(max_length=10, null=True)),
                ("created_offline", models.BooleanField(null=True)),
                (
                    "session",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="transactions",
                        to="stores.uploadsession",
                    ),
                ),
                (
                    "made_by",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("corrects", models.CharField(max_length=36, null=True)),
                ("staged_at", models.DateTimeField(db_default=Now())),
                ("content_hash", models.BinaryField(max_length=32)),
                ("transaction_id", models.CharField(max_length=44)),
                (
                    "transaction_type",
                    models.CharField(
                        choices=[("sale", "Sale"), ("return", "Return"), ("customer_order", "Customer order")],
                        max_length=14,
                    ),
                ),
                (
                    "entry_status",
                    models.CharField(choices=[("concluded", "Concluded"), ("voided", "Voided")], max_length=9),
                ),
                ("confirmation_number", models.CharField(max_length=50, null=True)),
                ("business_date", models.DateField()),
                ("store_number", models.CharField(max_length=10, null=True)),
                ("currency", models.CharField(max_length=3)),
                ("net_amount", MoneyField(decimal_places=4, max_digits=18)),
                ("tax_amount", MoneyField(decimal_places=4, max_digits=18)),
                ("gross_amount", MoneyField(decimal_places=4, max_digits=18)),
                ("discount_amount", MoneyField(decimal_places=4, max_digits=18)),
                ("payment_amount", MoneyField(decimal_places=4, max_digits=18)),
                ("line_count", models.IntegerField()),
                ("delivery_address_id", models.UUIDField(null=True)),
                ("delivery_mode", models.CharField(max_length=10, null=True)),
                ("receipt_number", models.CharField(max_length=18, null=True)),
                (
                    "customer",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="transactions",
                        to="stores.customer",
                    ),
                ),
                (
                    "validation_status",
                    models.CharField(
                        choices=[("none", "Not validated"), ("successful", "Successful"), ("error", "Error")],
                        db_default="none",
                        max_length=10,
                    ),
                ),
                ("validated_at", models.DateTimeField(null=True)),
                (
                    "order_status",
                    models.CharField(
                        choices=[
                            ("none", "None"),
                            ("failed", "Failed"),
                            ("succeeded", "Succeeded"),
                            ("editing", "Editing"),
                        ],
                        db_default="none",
                        max_length=9,
                    ),
                ),
                ("order_attempts", models.PositiveIntegerField(db_default=0)),
                ("order_tried_at", models.DateTimeField(null=True)),
                ("order_reason", models.CharField(max_length=40, null=True)),
                ("order_field", models.CharField(max_length=40, null=True)),
                (
                    "sales_order",
                    models.ForeignKey(
                        null=True, on_delete=models.PROTECT, related_name="transactions", to="stores.salesorder"
                    ),
                ),
                (
                    "statement",
                    models.ForeignKey(
                        null=True, on_delete=models.PROTECT, related_name="transactions", to="stores.statement"
                    ),
                ),
                (
                    "prepayment_statement",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="prepaid_orders",
                        to="stores.statement",
                    ),
                ),
                ("is_mended", models.BooleanField(db_default=False, help_text="A person has changed it.")),
                (
                    "shares_number",
                    models.BooleanField(
                        db_default=False, help_text="A person confirmed that it is no copy of another channel's transaction."
                    ),
                ),
                (
                    "editing_by",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                ("editing_until", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "retail_transaction",
                "permissions": [("mend_transaction", "Can correct transactions")],
                "indexes": [
                    BrinIndex(fields=["staged_at"], name="transaction_arrived"),
                    models.Index(
                        condition=models.Q(("sales_order__isnull", True), ("statement__isnull", True)),
                        fields=["channel", "business_date"],
                        name="transaction_open",
                    ),
                    models.Index(
                        condition=models.Q(
                            models.Q(("payment_amount", 0), _negated=True),
                            ("prepayment_statement__isnull", True),
                            ("transaction_type", "customer_order"),
                        ),
                        fields=["channel", "business_date"],
                        name="prepayment_open",
                    ),
                    models.Index(
                        condition=models.Q(("prepayment_statement__isnull", False)),
                        fields=["prepayment_statement"],
                        name="prepayment_of_statement",
                    ),
                    models.Index(
                        condition=models.Q(("async_account__isnull", False)),
                        fields=["async_account"],
                        name="transaction_of_guid",
                    ),
                    models.Index(
                        condition=models.Q(("customer__isnull", False)),
                        fields=["customer", "-id"],
                        name="transaction_of_customer",
                    ),
                    models.Index(
                        condition=models.Q(("receipt_number__isnull", False)),
                        fields=["receipt_number"],
                        name="transaction_receipt",
                    ),
                    models.Index(
                        condition=models.Q(("confirmation_number__isnull", False)),
                        fields=["confirmation_number"],
                        name="transaction_confirmation",
                    ),
models.Index(condition=models.Q(("payment_amount", 0), ("prepayment_statement__isnull", True), ("transaction_type", "customer_order")), fields=["channel", "business_date"], name="order_without_payment"),
models.Index(fields=["channel", "id"], name="transaction_of_channel"),
models.Index(fields=["business_date", "id"], name="transaction_of_day"),
models.Index(condition=models.Q(("entry_status", "concluded"), ("sales_order__isnull", True)), fields=["id"], name="transaction_not_posted"),
models.Index(condition=models.Q(("entry_status", "voided")), fields=["id"], name="transaction_voided"),
models.Index(condition=models.Q(("validation_status__in", ["none", "error"])), fields=["validation_status", "id"], name="transaction_not_valid"),
models.Index(condition=models.Q(("order_status__in", ["failed", "editing"])), fields=["order_status", "id"], name="order_failed"),
models.Index(condition=models.Q(("order_reason__isnull", False)), fields=["order_reason", "id"], name="order_waiting"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("transaction_id", "channel"), name="a_transaction_is_kept_once"),
                    models.UniqueConstraint(
                        condition=models.Q(("shares_number", False), ("store_number__isnull", False)),
                        fields=("transaction_id", "store_number", "company"),
                        name="a_number_of_a_store_is_one_transaction",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("shares_number", False), ("store_number__isnull", True)),
                        fields=("transaction_id", "content_hash", "company"),
                        name="a_storeless_transaction_is_kept_once",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("transaction_type", "customer_order")),
                        fields=("channel", "confirmation_number"),
                        name="a_confirmation_number_is_one_order",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("transaction_type__in", ["sale", "return", "customer_order"])),
                        name="transaction_type_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("entry_status__in", ["concluded", "voided"])), name="entry_status_is_known"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("validation_status__in", ["none", "successful", "error"])),
                        name="validation_status_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("order_status__in", ["none", "failed", "succeeded", "editing"])),
                        name="order_status_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("database__isnull", False), ("origin", "till")),
                            models.Q(("corrects__isnull", False), ("database__isnull", True), ("origin", "hq")),
                            _connector="OR",
                        ),
                        name="a_transaction_comes_from_somewhere",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("sales_order__isnull", True), ("customer__isnull", False), _connector="OR"),
                        name="what_is_ordered_has_an_account",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("order_status", "succeeded"), _negated=True),
                            ("sales_order__isnull", False),
                            _connector="OR",
                        ),
                        name="a_succeeded_order_exists",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("transaction_type", "customer_order"), _negated=True),
                            models.Q(("entry_status", "concluded"), _negated=True),
                            ("sales_order__isnull", False),
                            models.Q(("order_reason__isnull", False), models.Q(("order_reason", ""), _negated=True)),
                            _connector="OR",
                        ),
                        name="an_order_that_waits_says_why",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("statement__isnull", True), ("prepayment_statement__isnull", True), _connector="OR"
                        ),
                        name="a_sale_is_no_prepayment",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="RetailTransactionLine",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "transaction_id", "line_number", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "transaction",
                    models.ForeignKey(
                        db_index=False, on_delete=models.PROTECT, related_name="lines", to="stores.retailtransaction"
                    ),
                ),
                ("line_number", models.IntegerField()),
                ("item_id", models.CharField(max_length=20, null=True)),
                ("description", models.CharField(max_length=120, null=True)),
                ("quantity", MoneyField(decimal_places=4, max_digits=18, null=True)),
                ("unit", models.CharField(max_length=10, null=True)),
                ("price", MoneyField(decimal_places=4, max_digits=18, null=True)),
                ("discount_amount", MoneyField(decimal_places=4, max_digits=18, null=True)),
                ("tax_amount", MoneyField(decimal_places=4, max_digits=18, null=True)),
                ("net_amount", MoneyField(decimal_places=4, max_digits=18, null=True)),
                ("is_voided", models.BooleanField(null=True)),
            ],
            options={"db_table": "retail_transaction_line", "ordering": ["transaction", "line_number"]},
        ),
        migrations.CreateModel(
            name="RetailTransactionPayment",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "transaction_id", "line_number", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "transaction",
                    models.ForeignKey(
                        db_index=False, on_delete=models.PROTECT, related_name="payments", to="stores.retailtransaction"
                    ),
                ),
                ("line_number", models.IntegerField()),
                ("tender_type", models.CharField(max_length=20)),
                ("amount", MoneyField(decimal_places=4, max_digits=18)),
                ("currency", models.CharField(max_length=3)),
            ],
            options={"db_table": "retail_transaction_payment", "ordering": ["transaction", "line_number"]},
        ),
        migrations.CreateModel(
            name="TransactionError",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "transaction",
                    models.ForeignKey(on_delete=models.PROTECT, related_name="errors", to="stores.retailtransaction"),
                ),
                ("rule", models.CharField(max_length=40)),
                ("field", models.CharField(max_length=40)),
                ("line_number", models.IntegerField(null=True)),
                ("expected", models.CharField(blank=True, max_length=60)),
                ("found", models.CharField(blank=True, max_length=60)),
            ],
            options={
                "db_table": "transaction_error",
                "ordering": ["transaction", "id"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("transaction", "rule", "field", "line_number"),
                        name="a_rule_is_broken_once_a_field",
                        nulls_distinct=False,
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="TransactionChange",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "transaction",
                    models.ForeignKey(on_delete=models.PROTECT, related_name="changes", to="stores.retailtransaction"),
                ),
                ("line_number", models.IntegerField(null=True)),
                ("field", models.CharField(max_length=40)),
                ("old", models.TextField(null=True)),
                ("new", models.TextField(null=True)),
                ("reason", models.CharField(max_length=300)),
                ("changed_at", models.DateTimeField(db_default=Now())),
                (
                    "changed_by",
                    models.ForeignKey(on_delete=models.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL),
                ),
                ("correction", models.UUIDField(null=True)),
            ],
            options={
                "db_table": "transaction_change",
                "ordering": ["-id"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("correction__isnull", False)),
                        fields=["correction", "transaction"],
                        name="changes_of_a_correction",
                    )
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("reason", ""), _negated=True), name="a_change_has_a_reason"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("old", models.F("new")), _negated=True),
                            ("old__isnull", True),
                            ("new__isnull", True),
                            _connector="OR",
                        ),
                        name="a_change_changes_something",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="IncompleteDocument",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "database_id", "event_id", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                (
                    "database",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=models.PROTECT,
                        related_name="incomplete_documents",
                        to="stores.channeldatabase",
                    ),
                ),
                ("event_id", models.UUIDField()),
                ("first_seen_at", models.DateTimeField(db_default=Now())),
            ],
            options={"db_table": "incomplete_document"},
        ),
        migrations.CreateModel(
            name="StatementTender",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "statement",
                    models.ForeignKey(on_delete=models.PROTECT, related_name="tenders", to="stores.statement"),
                ),
                ("tender_type", models.CharField(max_length=20)),
                ("currency", models.CharField(max_length=3)),
                ("count", models.PositiveIntegerField()),
                ("amount", MoneyField(decimal_places=4, max_digits=18)),
                (
                    "prepaid_amount",
                    MoneyField(
                        db_default=0,
                        decimal_places=4,
                        help_text="The part of it that was paid for customer orders.",
                        max_digits=18,
                    ),
                ),
            ],
            options={
                "db_table": "statement_tender",
                "ordering": ["statement", "currency", "tender_type"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("statement", "tender_type", "currency"), name="a_tender_is_summed_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="StatementTotal",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "statement",
                    models.ForeignKey(on_delete=models.PROTECT, related_name="totals", to="stores.statement"),
                ),
                ("currency", models.CharField(max_length=3)),
                ("transactions", models.PositiveIntegerField()),
                ("net_amount", MoneyField(decimal_places=4, max_digits=18)),
                ("tax_amount", MoneyField(decimal_places=4, max_digits=18)),
                ("gross_amount", MoneyField(decimal_places=4, max_digits=18)),
                ("discount_amount", MoneyField(decimal_places=4, max_digits=18)),
            ],
            options={
                "db_table": "statement_total",
                "ordering": ["statement", "currency"],
                "constraints": [
                    models.UniqueConstraint(fields=("statement", "currency"), name="a_currency_is_summed_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="StatementAggregate",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "statement",
                    models.ForeignKey(on_delete=models.PROTECT, related_name="aggregates", to="stores.statement"),
                ),
                (
                    "customer",
                    models.ForeignKey(db_index=False, on_delete=models.PROTECT, related_name="+", to="stores.customer"),
                ),
                ("currency", models.CharField(max_length=3)),
                ("transactions", models.PositiveIntegerField()),
                ("net_amount", MoneyField(decimal_places=4, max_digits=18)),
                ("tax_amount", MoneyField(decimal_places=4, max_digits=18)),
                ("gross_amount", MoneyField(decimal_places=4, max_digits=18)),
                ("discount_amount", MoneyField(decimal_places=4, max_digits=18)),
                (
                    "state",
                    models.CharField(
                        choices=[("waiting", "Waiting"), ("ordered", "Order created"), ("failed", "Failed")],
                        db_default="waiting",
                        max_length=7,
                    ),
                ),
                ("reason", models.CharField(blank=True, db_default="", max_length=40)),
                (
                    "sales_order",
                    models.OneToOneField(
                        null=True, on_delete=models.PROTECT, related_name="aggregate", to="stores.salesorder"
                    ),
                ),
            ],
            options={
                "db_table": "statement_aggregate",
                "ordering": ["statement", "id"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("statement", "customer", "currency"), name="one_aggregate_per_customer_and_currency"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ["waiting", "ordered", "failed"])),
                        name="aggregate_state_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("state", "ordered"), _negated=True),
                            ("sales_order__isnull", False),
                            _connector="OR",
                        ),
                        name="an_ordered_aggregate_has_its_order",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="StatementEvent",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "statement",
                    models.ForeignKey(on_delete=models.PROTECT, related_name="events", to="stores.statement"),
                ),
                ("at", models.DateTimeField(db_default=Now())),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("started", "Started"),
                            ("marked", "Marked"),
                            ("calculated", "Calculated"),
                            ("checked", "Checked"),
                            ("aggregated", "Aggregated"),
                            ("orders_created", "Customer orders created"),
                            ("invoiced", "Invoiced"),
                            ("payments_posted", "Payments posted"),
                            ("posted", "Posted"),
                            ("cancelled", "Cancelled"),
                        ],
                        max_length=15,
                    ),
                ),
                ("text", MessageField()),
                (
                    "run",
                    models.ForeignKey(
                        db_index=False, null=True, on_delete=models.PROTECT, related_name="+", to="stores.jobrun"
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={"db_table": "statement_event", "ordering": ["statement", "id"]},
        ),
        migrations.CreateModel(
            name="PostedPayment",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "statement",
                    models.ForeignKey(on_delete=models.PROTECT, related_name="payments", to="stores.statement"),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("payment", "Payment"),
                            ("prepayment", "Prepayment"),
                            ("rounding_difference", "Rounding difference"),
                            ("payment_difference", "Payment difference"),
                        ],
                        db_default="payment",
                        max_length=19,
                    ),
                ),
                (
                    "customer",
                    models.ForeignKey(db_index=False, on_delete=models.PROTECT, related_name="+", to="stores.customer"),
                ),
                (
                    "sales_order",
                    models.ForeignKey(
                        null=True, on_delete=models.PROTECT, related_name="payments", to="stores.salesorder"
                    ),
                ),
                (
                    "transaction",
                    models.ForeignKey(
                        db_index=False,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="prepayments",
                        to="stores.retailtransaction",
                    ),
                ),
                ("tender_type", models.CharField(blank=True, max_length=20)),
                ("currency", models.CharField(max_length=3)),
                ("amount", MoneyField(decimal_places=4, max_digits=18)),
                ("count", models.PositiveIntegerField(help_text="Payment lines in it; of a difference, sales.")),
            ],
            options={
                "db_table": "posted_payment",
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("sales_order__isnull", False)),
                        fields=("sales_order", "kind", "tender_type", "currency"),
                        name="a_tender_is_posted_once_an_order",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("transaction__isnull", False)),
                        fields=("transaction", "tender_type", "currency"),
                        name="a_prepayment_is_posted_once",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("kind__in", ["payment", "prepayment", "rounding_difference", "payment_difference"])
                        ),
                        name="payment_kind_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("kind", "prepayment"), ("sales_order__isnull", True), ("transaction__isnull", False)
                            ),
                            models.Q(
                                models.Q(("kind", "prepayment"), _negated=True),
                                ("sales_order__isnull", False),
                                ("transaction__isnull", True),
                            ),
                            _connector="OR",
                        ),
                        name="only_a_prepayment_is_of_a_customer_order",
                    ),
                ],
            },
        ),
        # The balance of what arrived.
        migrations.CreateModel(
            name="Arrival",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "database",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.PROTECT,
                        related_name="+",
                        to="stores.channeldatabase",
                    ),
                ),
                ("table", models.CharField(max_length=40)),
                ("day", models.DateField()),
                ("rows", models.BigIntegerField(default=0)),
            ],
            options={
                "db_table": "arrival",
                "indexes": [models.Index(fields=["-day"], name="arrival_newest")],
                "constraints": [
                    models.UniqueConstraint(fields=("database", "table", "day"), name="arrivals_are_counted_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="Balance",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "database",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=models.PROTECT,
                        related_name="+",
                        to="stores.channeldatabase",
                    ),
                ),
                ("table", models.CharField(max_length=40)),
                ("day", models.DateField()),
                ("captured", models.BigIntegerField(db_default=0)),
                ("converted", models.BigIntegerField(db_default=0)),
                ("linked", models.BigIntegerField(db_default=0)),
                ("posted", models.BigIntegerField(db_default=0)),
                ("voided", models.BigIntegerField(db_default=0)),
                ("waiting", models.BigIntegerField(db_default=0)),
                ("failed", models.BigIntegerField(db_default=0)),
                ("quarantined", models.BigIntegerField(db_default=0)),
                ("erased", models.BigIntegerField(db_default=0)),
                ("counted_at", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "balance",
                "constraints": [
                    models.UniqueConstraint(fields=("database", "table", "day"), name="a_day_is_balanced_once")
                ],
            },
        ),
        # Incidents, promises, and what headquarters knows of itself.
        migrations.CreateModel(
            name="Incident",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("hq_behind", "Headquarters was restored from an older backup"),
                            ("hq_moved", "Headquarters runs on another server or database"),
                            ("channel_restored", "Channel was restored from an older backup"),
                            ("channel_forked", "Channel database exists twice"),
                            ("wrong_database", "Not the registered database"),
                            ("schema_drift", "Channel's tables were changed"),
                            ("forgotten_account", "Channel knows an account that headquarters does not"),
                            ("content_changed", "An event was changed after it was written"),
                            ("event_too_large", "An event is too large to be fetched"),
                            ("event_vanished", "An event disappeared from its channel"),
                            ("parts_without_header", "Lines or payments without their sale"),
                            ("posted_before", "Headquarters lost orders or invoices it had issued"),
                            ("journal_unusable", "The number journal cannot be written"),
                            ("run_given_up", "A run was lost repeatedly"),
                            ("many_quarantined", "Channel sends many invalid rows"),
                            ("row_refused", "A database refuses a row"),
                            ("message_refused", "The queue held a message that is not a run"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "database",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=models.PROTECT,
                        related_name="incidents",
                        to="stores.channeldatabase",
                    ),
                ),
                ("subject", models.CharField(blank=True, max_length=120)),
                ("message", MessageField()),
                ("detail", models.JSONField(blank=True, default=dict)),
                ("opened_at", models.DateTimeField(db_default=Now())),
                ("last_seen_at", models.DateTimeField(db_default=Now())),
                ("times", models.PositiveIntegerField(db_default=1, help_text="How often it was reported.")),
                ("closed_at", models.DateTimeField(blank=True, null=True)),
                (
                    "closed_by",
                    models.ForeignKey(
                        blank=True, null=True, on_delete=models.PROTECT, related_name="+", to=settings.AUTH_USER_MODEL
                    ),
                ),
                ("closing_reason", models.CharField(blank=True, max_length=300)),
            ],
            options={
                "db_table": "incident",
                "permissions": [("release_fence", "Can close incidents and recover headquarters")],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("closed_at__isnull", True)),
                        fields=("kind", "database", "subject"),
                        name="one_open_incident_of_a_kind",
                        nulls_distinct=False,
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "kind__in",
                                [
                                    "hq_behind",
                                    "hq_moved",
                                    "channel_restored",
                                    "channel_forked",
                                    "wrong_database",
                                    "schema_drift",
                                    "forgotten_account",
                                    "content_changed",
                                    "event_too_large",
                                    "event_vanished",
                                    "parts_without_header",
                                    "posted_before",
                                    "journal_unusable",
                                    "run_given_up",
                                    "many_quarantined",
                                    "row_refused",
                                    "message_refused",
                                ],
                            )
                        ),
                        name="incident_kind_is_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("closed_at__isnull", True),
                            models.Q(("closing_reason", ""), _negated=True),
                            _connector="OR",
                        ),
                        name="an_incident_is_closed_with_a_reason",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("closed_at__isnull", False),
                            models.Q(("closed_by__isnull", True), ("closing_reason", "")),
                            _connector="OR",
                        ),
                        name="an_open_incident_has_no_closing_reason",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("kind", "hq_behind"), _negated=True),
                            ("closed_by__isnull", True),
                            _connector="OR",
                        ),
                        name="nobody_closes_a_headquarters_that_is_behind",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Promise",
            fields=[
                ("id", models.CharField(max_length=8, primary_key=True, serialize=False)),
                ("position", models.PositiveIntegerField(help_text="Its place in the catalogue.")),
                ("title", MessageField()),
                ("ok", models.BooleanField()),
                ("checked", models.BigIntegerField(help_text="How many rows were looked at.")),
                (
                    "late",
                    models.BigIntegerField(
                        db_default=0, help_text="Rows that are still under way, which is no breach."
                    ),
                ),
                ("offending", models.JSONField(default=list, encoder=DjangoJSONEncoder)),
                ("checked_at", models.DateTimeField()),
                ("broken_since", models.DateTimeField(null=True)),
                ("run", models.ForeignKey(null=True, on_delete=models.SET_NULL, related_name="+", to="stores.jobrun")),
            ],
            options={"db_table": "promise", "ordering": ["position"]},
        ),
        migrations.CreateModel(
            name="NumberJournal",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("size", models.BigIntegerField(db_default=0, help_text="Bytes up to which HQ knows every line.")),
                ("last_hash", models.CharField(blank=True, max_length=16)),
                ("following", models.JSONField(default=dict)),
                ("heights", models.JSONField(default=dict)),
                ("followed_at", models.DateTimeField(db_default=Now())),
            ],
            options={"db_table": "number_journal"},
        ),
        migrations.CreateModel(
            name="Headquarters",
            fields=[
                ("id", models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("identity", models.JSONField()),
                ("noted_at", models.DateTimeField(db_default=Now())),
            ],
            options={
                "db_table": "headquarters",
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("id", 1)), name="there_is_one_headquarters")
                ],
            },
        ),
        *models_of_views(),
        # For searching by any piece of a name. Whoever owns a database may create this extension.
        TrigramExtension(),
        sql("sequences"),
        sql("normalization"),
        sql("search"),
        sql("refuse"),
        sql("account_numbers"),
        sql("business_date"),
        sql("event_order"),
        sql("money"),
        sql("card_numbers"),
        sql("guards_company"),
        sql("guards_channel"),
        sql("guards_customer"),
        sql("guards_package"),
        sql("guards_sale"),
        sql("guards_statement"),
        *sql_of_each_kind("guards_staged_event"),
        sql("guards_staging"),
        sql("arrivals"),
        *sql_of_each_kind("staged_event_states"),
        sql("open_sales"),
        sql("sale_parts"),
        sql("statement_hash"),
        sql("staged_rows"),
        sql("views"),
        sql("deliveries"),
        sql("guards_quarantine"),
        sql("guards_run"),
        migrations.RunPython(make_nightly),
    ]
