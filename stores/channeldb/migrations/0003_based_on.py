"""An event may say which version it is based on; a channel made since has the column."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from stores.channeldb.schema import ddl
from stores.channeldb.schema.tables import EVENT_TABLES

NAME = "based_on"


def add(_apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """Add the column where it is missing, and have the guards protect it too."""
    wrapper = editor.connection
    vendor = ddl.vendor_of(wrapper)
    public = ddl.SPELLING[vendor]["public"]
    with wrapper.cursor() as cursor:
        for table in EVENT_TABLES:
            held = wrapper.introspection.get_table_description(cursor, table.name)
            added = [column for column in table.columns if column.name == NAME]
            if not added or NAME in {column.name for column in held}:
                continue
            line = ddl.column_line(added[0], vendor)
            cursor.execute(f"ALTER TABLE {public}{table.name} ADD COLUMN {line}")
            for thing, statement in ddl.object_statements(vendor).items():
                if thing.startswith(f"trigger {table.name}."):
                    for remade in ddl.recreate_statements(thing, statement, vendor):
                        cursor.execute(remade)


class Migration(migrations.Migration):
    dependencies = [("channeldb", "0002_positions")]
    # Taking 0001 back removes the tables.
    operations = [migrations.RunPython(add, migrations.RunPython.noop)]
