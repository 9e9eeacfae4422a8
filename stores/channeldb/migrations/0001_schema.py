"""The tables, view and guards of a channel, in the SQL of its engine; Django state beside it."""

from typing import Any
from uuid import uuid4

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from stores.channeldb import fields
from stores.channeldb.schema import ddl


def make(_apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """Make the schema and give the database its identity.

    A cursor, not editor.execute: that would take the % of a guard for a parameter.
    """
    with editor.connection.cursor() as cursor:
        for statement in ddl.statements(ddl.vendor_of(editor.connection)):
            cursor.execute(statement)
        cursor.execute(
            "INSERT INTO exchange_state (database_id, epoch, nonce, account_high)"
            " VALUES (%s, 0, %s, %s)",
            [str(uuid4()), str(uuid4()), "{}"],
        )


def unmake(_apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """Remove everything, events that HQ has not fetched included."""
    with editor.connection.cursor() as cursor:
        for statement in ddl.drop_statements(ddl.vendor_of(editor.connection)):
            cursor.execute(statement)


def event_fields() -> list[tuple[str, Any]]:
    """The columns that the events of all tables share."""
    return [
        ("event_id", fields.ChannelUUIDField(primary_key=True, serialize=False)),
        ("replication_counter", fields.ChannelCounterField(editable=False, null=True, unique=True)),
        ("occurred_at", fields.ChannelTimeField()),
        ("operation", models.TextField(null=True)),
        ("async_account", fields.ChannelUUIDField(null=True)),
        ("account_number", models.TextField(null=True)),
        ("staff_id", models.TextField(null=True)),
        ("terminal_id", models.TextField(null=True)),
        ("created_offline", models.BooleanField(default=False, null=True)),
        ("acknowledged_at", fields.ChannelTimeField(null=True)),
    ]


def composite_key(*columns: str) -> models.CompositePrimaryKey:
    return models.CompositePrimaryKey(
        *columns, blank=True, editable=False, primary_key=True, serialize=False
    )


STATE = [
    migrations.CreateModel(
        name="AccountMap",
        fields=[
            ("async_account", fields.ChannelUUIDField(primary_key=True, serialize=False)),
            ("company", models.TextField()),
            ("account_number", models.TextField()),
            ("received_at", fields.ChannelTimeField()),
        ],
        options={"db_table": "account_map", "default_permissions": ()},
    ),
    migrations.CreateModel(
        name="AddressEvent",
        fields=[
            *event_fields(),
            ("address_id", fields.ChannelUUIDField()),
            ("purpose", models.TextField(null=True)),
            ("description", models.TextField(null=True)),
            ("street", models.TextField(null=True)),
            ("street_number", models.TextField(null=True)),
            ("building", models.TextField(null=True)),
            ("city", models.TextField(null=True)),
            ("county", models.TextField(null=True)),
            ("state", models.TextField(null=True)),
            ("postal_code", models.TextField(null=True)),
            ("country", models.TextField(null=True)),
            ("is_primary", models.BooleanField(null=True)),
        ],
        options={"db_table": "async_address", "abstract": False, "default_permissions": ()},
    ),
    migrations.CreateModel(
        name="AffiliationEvent",
        fields=[
            *event_fields(),
            ("affiliation", models.TextField(null=True)),
        ],
        options={"db_table": "async_affiliation", "abstract": False, "default_permissions": ()},
    ),
    migrations.CreateModel(
        name="AppliedSession",
        fields=[
            ("pk", composite_key("session_id", "part")),
            ("session_id", fields.ChannelUUIDField()),
            ("part", models.IntegerField()),
            ("job", models.TextField(null=True)),
            ("rows", models.IntegerField(null=True)),
            ("applied_at", fields.ChannelTimeField()),
        ],
        options={"db_table": "applied_session", "default_permissions": ()},
    ),
    migrations.CreateModel(
        name="AttributeEvent",
        fields=[
            *event_fields(),
            ("attribute", models.TextField(null=True)),
            ("value", models.TextField(null=True)),
        ],
        options={"db_table": "async_attribute", "abstract": False, "default_permissions": ()},
    ),
    migrations.CreateModel(
        name="ChannelSetting",
        fields=[
            ("key", models.TextField(primary_key=True, serialize=False)),
            ("value", models.JSONField(null=True)),
        ],
        options={"db_table": "channel_setting", "default_permissions": ()},
    ),
    migrations.CreateModel(
        name="ContactEvent",
        fields=[
            *event_fields(),
            ("contact_id", fields.ChannelUUIDField()),
            ("kind", models.TextField(null=True)),
            ("locator", models.TextField(null=True)),
            ("description", models.TextField(null=True)),
            ("is_primary", models.BooleanField(null=True)),
            ("marketing_opt_in", models.BooleanField(null=True)),
        ],
        options={"db_table": "async_contact", "abstract": False, "default_permissions": ()},
    ),
    migrations.CreateModel(
        name="Customer",
        fields=[
            ("customer_type", models.TextField(null=True)),
            ("first_name", models.TextField(null=True)),
            ("middle_name", models.TextField(null=True)),
            ("last_name", models.TextField(null=True)),
            ("name", models.TextField(null=True)),
            ("title", models.TextField(null=True)),
            ("language", models.TextField(null=True)),
            ("currency", models.TextField(null=True)),
            ("customer_group", models.TextField(null=True)),
            ("email", models.TextField(null=True)),
            ("phone", models.TextField(null=True)),
            ("receipt_email", models.TextField(null=True)),
            ("vat_number", models.TextField(null=True)),
            ("birth_date", models.DateField(null=True)),
            ("company", models.TextField()),
            ("account_number", models.TextField()),
            ("is_active", models.BooleanField(default=True)),
            ("hq_version", models.BigIntegerField(default=0)),
            ("pk", composite_key("company", "account_number")),
            ("async_account", fields.ChannelUUIDField(null=True)),
            ("is_blocked", models.BooleanField(default=False)),
        ],
        options={"db_table": "customer", "abstract": False, "default_permissions": ()},
    ),
    migrations.CreateModel(
        name="CustomerAddress",
        fields=[
            ("purpose", models.TextField(null=True)),
            ("description", models.TextField(null=True)),
            ("street", models.TextField(null=True)),
            ("street_number", models.TextField(null=True)),
            ("building", models.TextField(null=True)),
            ("city", models.TextField(null=True)),
            ("county", models.TextField(null=True)),
            ("state", models.TextField(null=True)),
            ("postal_code", models.TextField(null=True)),
            ("country", models.TextField(null=True)),
            ("is_primary", models.BooleanField(null=True)),
            ("company", models.TextField()),
            ("account_number", models.TextField()),
            ("is_active", models.BooleanField(default=True)),
            ("hq_version", models.BigIntegerField(default=0)),
            ("address_id", fields.ChannelUUIDField(primary_key=True, serialize=False)),
        ],
        options={"db_table": "customer_address", "abstract": False, "default_permissions": ()},
    ),
    migrations.CreateModel(
        name="CustomerAffiliation",
        fields=[
            ("company", models.TextField()),
            ("account_number", models.TextField()),
            ("is_active", models.BooleanField(default=True)),
            ("hq_version", models.BigIntegerField(default=0)),
            ("pk", composite_key("company", "account_number", "affiliation")),
            ("affiliation", models.TextField()),
        ],
        options={"db_table": "customer_affiliation", "abstract": False, "default_permissions": ()},
    ),
    migrations.CreateModel(
        name="CustomerAttribute",
        fields=[
            ("company", models.TextField()),
            ("account_number", models.TextField()),
            ("is_active", models.BooleanField(default=True)),
            ("hq_version", models.BigIntegerField(default=0)),
            ("pk", composite_key("company", "account_number", "attribute")),
            ("attribute", models.TextField()),
            ("value", models.TextField(null=True)),
        ],
        options={"db_table": "customer_attribute", "abstract": False, "default_permissions": ()},
    ),
    migrations.CreateModel(
        name="CustomerContact",
        fields=[
            ("kind", models.TextField(null=True)),
            ("locator", models.TextField(null=True)),
            ("description", models.TextField(null=True)),
            ("is_primary", models.BooleanField(null=True)),
            ("marketing_opt_in", models.BooleanField(null=True)),
            ("company", models.TextField()),
            ("account_number", models.TextField()),
            ("is_active", models.BooleanField(default=True)),
            ("hq_version", models.BigIntegerField(default=0)),
            ("contact_id", fields.ChannelUUIDField(primary_key=True, serialize=False)),
        ],
        options={"db_table": "customer_contact", "abstract": False, "default_permissions": ()},
    ),
    migrations.CreateModel(
        name="CustomerEvent",
        fields=[
            *event_fields(),
            ("customer_type", models.TextField(null=True)),
            ("first_name", models.TextField(null=True)),
            ("middle_name", models.TextField(null=True)),
            ("last_name", models.TextField(null=True)),
            ("name", models.TextField(null=True)),
            ("title", models.TextField(null=True)),
            ("language", models.TextField(null=True)),
            ("currency", models.TextField(null=True)),
            ("customer_group", models.TextField(null=True)),
            ("email", models.TextField(null=True)),
            ("phone", models.TextField(null=True)),
            ("receipt_email", models.TextField(null=True)),
            ("vat_number", models.TextField(null=True)),
            ("birth_date", models.DateField(null=True)),
        ],
        options={"db_table": "async_customer", "abstract": False, "default_permissions": ()},
    ),
    migrations.CreateModel(
        name="ExchangeState",
        fields=[
            ("database_id", fields.ChannelUUIDField(primary_key=True, serialize=False)),
            ("epoch", models.BigIntegerField()),
            ("nonce", fields.ChannelUUIDField()),
            ("account_high", models.JSONField(default=dict)),
            ("updated_at", fields.ChannelTimeField()),
        ],
        options={"db_table": "exchange_state", "default_permissions": ()},
    ),
    migrations.CreateModel(
        name="RetailTransaction",
        fields=[
            *event_fields(),
            ("transaction_id", models.TextField(null=True, unique=True)),
            ("transaction_type", models.TextField(null=True)),
            ("entry_status", models.TextField(null=True)),
            ("confirmation_number", models.TextField(null=True)),
            ("business_date", models.DateField(null=True)),
            ("store_number", models.TextField(null=True)),
            ("currency", models.TextField(null=True)),
            ("net_amount", fields.ChannelMoneyField(decimal_places=4, max_digits=18, null=True)),
            ("tax_amount", fields.ChannelMoneyField(decimal_places=4, max_digits=18, null=True)),
            ("gross_amount", fields.ChannelMoneyField(decimal_places=4, max_digits=18, null=True)),
            (
                "discount_amount",
                fields.ChannelMoneyField(decimal_places=4, max_digits=18, null=True),
            ),
            (
                "payment_amount",
                fields.ChannelMoneyField(decimal_places=4, max_digits=18, null=True),
            ),
            ("line_count", models.IntegerField(null=True)),
            ("delivery_address_id", fields.ChannelUUIDField(null=True)),
            ("delivery_mode", models.TextField(null=True)),
            ("receipt_number", models.TextField(null=True)),
        ],
        options={"db_table": "retail_transaction", "abstract": False, "default_permissions": ()},
    ),
    migrations.CreateModel(
        name="RetailTransactionLine",
        fields=[
            ("pk", composite_key("transaction_id", "line_number")),
            ("transaction_id", models.TextField()),
            ("line_number", models.IntegerField()),
            ("item_id", models.TextField(null=True)),
            ("description", models.TextField(null=True)),
            ("quantity", fields.ChannelMoneyField(decimal_places=4, max_digits=18, null=True)),
            ("unit", models.TextField(null=True)),
            ("price", fields.ChannelMoneyField(decimal_places=4, max_digits=18, null=True)),
            (
                "discount_amount",
                fields.ChannelMoneyField(decimal_places=4, max_digits=18, null=True),
            ),
            ("tax_amount", fields.ChannelMoneyField(decimal_places=4, max_digits=18, null=True)),
            ("net_amount", fields.ChannelMoneyField(decimal_places=4, max_digits=18, null=True)),
            ("is_voided", models.BooleanField(null=True)),
        ],
        options={"db_table": "retail_transaction_line", "default_permissions": ()},
    ),
    migrations.CreateModel(
        name="RetailTransactionPayment",
        fields=[
            ("pk", composite_key("transaction_id", "line_number")),
            ("transaction_id", models.TextField()),
            ("line_number", models.IntegerField()),
            ("tender_type", models.TextField(null=True)),
            ("amount", fields.ChannelMoneyField(decimal_places=4, max_digits=18, null=True)),
            ("currency", models.TextField(null=True)),
        ],
        options={"db_table": "retail_transaction_payment", "default_permissions": ()},
    ),
]


class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunPython(make, unmake)], state_operations=STATE
        )
    ]
