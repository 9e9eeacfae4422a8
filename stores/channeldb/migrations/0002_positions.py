"""The channel notes up to which change it has everything; a channel made since has the column."""

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from stores.channeldb.schema import ddl
from stores.channeldb.schema.tables import TABLE_BY_NAME

TABLE = "exchange_state"
[POSITIONS] = [column for column in TABLE_BY_NAME[TABLE].columns if column.name == "positions"]


def add(_apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    vendor = ddl.vendor_of(editor.connection)
    with editor.connection.cursor() as cursor:
        held = editor.connection.introspection.get_table_description(cursor, TABLE)
        if POSITIONS.name not in {column.name for column in held}:
            public = ddl.SPELLING[vendor]["public"]
            line = ddl.column_line(POSITIONS, vendor)
            cursor.execute(f"ALTER TABLE {public}{TABLE} ADD COLUMN {line}")


class Migration(migrations.Migration):
    dependencies = [("channeldb", "0001_schema")]
    # Taking 0001 back removes the table.
    operations = [migrations.RunPython(add, migrations.RunPython.noop)]
