"""The tables, view and triggers of a channel, in the SQL of its engine.

SQL and Django's state both come from the models, which alone say what a channel holds. A test has a
digest of the SQL.
"""

from uuid import uuid4

from django.apps import apps
from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import ModelState
from django.db.models import Model

from stores.channeldb.router import APP
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


def create_model(model: type[Model]) -> migrations.CreateModel:
    state = ModelState.from_model(model)
    return migrations.CreateModel(state.name, list(state.fields.items()), state.options)


class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunPython(make, unmake)],
            state_operations=[
                create_model(model) for model in apps.get_app_config(APP).get_models()
            ],
        )
    ]
