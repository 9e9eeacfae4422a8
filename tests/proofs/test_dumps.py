"""A database restored from a dump is the same database, at HQ and in channels.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `popup` is one
on SQLite; `store` is a store, once on PostgreSQL and once on SQLite; `command` calls a management
command and returns its output.
"""

import sqlite3
from contextlib import closing

import pytest
from django.db import connection

from stores.channeldb.connect.url import sqlite_path
from stores.channeldb.provision import recreate_objects
from stores.models import ChannelDatabase
from tests.support.channels import change
from tests.support.dumps import dump, restore
from tests.support.make import (
    article,
    engine_of,
    lookup,
    make_customer,
    make_event,
    make_sale,
    run,
)

pytestmark = pytest.mark.slow

# Objects of a channel's database that hold no rows.
DROP_OBJECTS = {
    "postgresql": [
        "DROP TRIGGER guard_update ON async_customer",
        "ALTER TABLE async_address DISABLE TRIGGER guard_delete",
        "DROP FUNCTION document_guard() CASCADE",
        "DROP INDEX async_customer_waiting",
        "DROP VIEW customer_lookup",
    ],
    "sqlite": [
        "DROP TRIGGER async_customer_guard_update",
        "DROP TRIGGER async_address_guard_delete",
        "DROP INDEX async_customer_waiting",
        "DROP VIEW customer_lookup",
    ],
}


def dump_and_restore(database: ChannelDatabase) -> None:
    """Replace a channel's database by a new one that is restored from its dump."""
    if engine_of(database) == "postgresql":
        name = database.url.removeprefix("embedded:")
        restore(name, dump(name))
        return
    path = sqlite_path(database)
    with closing(sqlite3.connect(path)) as old:
        script = "\n".join(old.iterdump())
    for ending in ("", "-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as new:
        new.executescript(script)


def schema_of(name: str) -> list[str]:
    """The names of all tables, constraints, indexes, functions and triggers in a dump."""
    return [line for line in dump(name, "-s").splitlines() if line.startswith("-- Name: ")]


def test_a_restore_is_committed_synchronously(houston):
    name = houston.url.removeprefix("embedded:")

    restore(name, "CREATE TABLE seen AS SELECT current_setting('synchronous_commit') AS setting;")

    assert "\non\n" in dump(name, "--data-only")


@pytest.mark.finding(id="P1")
def test_a_restored_channel_continues_where_it_was(store, command):
    guid = make_customer(store, "Ann")
    make_event("address", store, async_account=guid)
    make_sale(store, "10.00", async_account=guid)
    run("pipeline")
    make_customer(store, "Bo")

    dump_and_restore(store)

    assert command("migrate_channels", store.channel.code) == f"{store.label}: unchanged.\n"
    assert run("pipeline")["counts"]["converted"] == 1
    assert [name for _, name in lookup(store)] == ["Ann", "Bo"]
    with pytest.raises(Exception, match="an event never changes"):
        change(store, "UPDATE async_customer SET last_name = 'X'")
    assert command("verify").splitlines()[-1].endswith("hold.")


@pytest.mark.finding(id="P1")
def test_a_restored_hq_is_the_same_database(houston, popup, command):
    for database in (houston, popup):
        guid = make_customer(database, "Ann")
        make_event("address", database, async_account=guid)
        make_event("attribute", database, async_account=guid)
        make_customer(database, last_name="L" * 61)
        make_sale(database, "10.00", async_account=guid)
        make_sale(database, "5.00", lines=[article("-1.00")])
    run("eod")
    run("pipeline")
    name = connection.settings_dict["NAME"]
    connection.close()
    schema = schema_of(name)

    restore(name, dump(name))

    assert schema_of(name) == schema
    assert command("verify").splitlines()[-1].endswith("hold.")


@pytest.mark.finding(id="P1")
def test_migrate_channels_recreates_objects_without_rows(store, command):
    make_customer(store, "Ann")
    change(store, *DROP_OBJECTS[engine_of(store)])

    refused = run("pipeline")
    output = command("migrate_channels", store.channel.code)

    assert f"Run migrate_channels {store.channel.code} to create it again." in refused["message"]
    assert output.startswith(f"{store.label}: repaired. Created again: ")
    assert recreate_objects(store) == []
    assert run("pipeline")["counts"]["converted"] == 1
    assert lookup(store) == [("005001", "Ann")]


@pytest.mark.finding(id="P1")
def test_migrate_channels_fails_if_a_table_replaces_a_view(houston, command):
    change(houston, "DROP VIEW customer_lookup; CREATE TABLE customer_lookup (n integer)")

    with pytest.raises(Exception, match="1 of 1 channel databases could not be migrated"):
        command("migrate_channels", "houston")
