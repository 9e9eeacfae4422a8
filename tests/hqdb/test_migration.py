"""A quick migration leaves tables, and the models that its code is given, as Django's own does."""

import pytest
from django.db import connection, migrations, models, transaction
from django.db.migrations.state import ProjectState
from django.db.models.constraints import CheckConstraint, UniqueConstraint

from stores.hqdb.migration import QuickMigration


def key(length: int) -> models.CharField:
    return models.CharField(max_length=length, primary_key=True)


def insert_rows(apps, editor):
    shop = apps.get_model("stores", "TriedShop").objects.create(code="x" * 20, town="Austin")
    till = apps.get_model("stores", "TriedTill").objects.create(shop=shop, note="new")
    assert list(shop.triedtill_set.all()) == [till]


OPERATIONS = [
    migrations.CreateModel("TriedShop", [("code", key(10)), ("name", models.CharField())]),
    migrations.CreateModel(
        "TriedTill",
        [
            ("id", models.AutoField(primary_key=True)),
            ("shop", models.ForeignKey("stores.TriedShop", models.PROTECT)),
            ("old", models.IntegerField()),
        ],
    ),
    migrations.AddField("TriedTill", "note", models.CharField(default="")),
    migrations.AlterField("TriedTill", "note", models.TextField()),
    migrations.RemoveField("TriedTill", "old"),
    # Its table is not the only one that this concerns.
    migrations.AlterField("TriedShop", "code", key(20)),
    migrations.AddConstraint("TriedTill", UniqueConstraint(fields=["note"], name="tried_once")),
    migrations.RenameField("TriedShop", "name", "town"),
    migrations.RunPython(insert_rows),
    migrations.RunSQL("SET CONSTRAINTS ALL IMMEDIATE"),
    migrations.RemoveConstraint("TriedTill", "tried_once"),
    migrations.AddConstraint(
        "TriedTill", CheckConstraint(condition=~models.Q(note=""), name="tried_note")
    ),
]
SHAPE = """
    SELECT attrelid::regclass::text, attname, format_type(atttypid, atttypmod), attnotnull::text
      FROM pg_attribute WHERE attrelid::regclass::text LIKE 'stores_tried%' AND attnum > 0
       AND NOT attisdropped
     UNION ALL
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), ''
      FROM pg_constraint WHERE conrelid::regclass::text LIKE 'stores_tried%'
     ORDER BY 1, 2"""


def shape_after(kind: type[migrations.Migration]) -> list[tuple[str, ...]]:
    """Columns and constraints of the tables that a migration of this kind makes."""
    migration = type("Migration", (kind,), {"operations": OPERATIONS})("0001_tried", "stores")
    with transaction.atomic():
        with connection.schema_editor() as editor:
            migration.apply(ProjectState(), editor)
        with connection.cursor() as cursor:
            cursor.execute(SHAPE)
            shape = cursor.fetchall()
        transaction.set_rollback(True)
    return shape


@pytest.mark.usefixtures("hq")
def test_a_quick_migration_makes_the_same_tables():
    shape = shape_after(QuickMigration)

    assert ("stores_triedtill", "shop_id", "character varying(20)", "true") in shape
    assert shape == shape_after(migrations.Migration)
