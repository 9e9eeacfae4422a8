"""Channels whose tables lack a later, optional column: HQ visits them all the same.

From conftest.py: `store` is a store, once on PostgreSQL and once on SQLite; `houston` is the one on
PostgreSQL; `command` calls a management command and returns its output.
"""

import pytest
from django.db import DatabaseError, connections

from stores.channeldb.schema import ddl
from stores.channeldb.schema.tables import LATER_COLUMNS, NO_COLUMNS
from stores.channeldb.schema.unchanged import is_unchanged
from stores.models import AsyncCustomer, Customer, Quarantine
from stores.models.job import JobCode
from stores.pipeline.events.kinds import EVENT_KINDS
from tests.support.make import make_customer, make_event, query, run, till
from tests.support.promises import broken_promises
from tests.support.registers import merge, offline_register

pytestmark = pytest.mark.slow

[(MIGRATION, LACKING)] = LATER_COLUMNS.items()


@pytest.fixture
def older_store(store):
    """The store, with the tables of a version before `based_on`."""
    make_older(store)
    return store


def make_older(database):
    with till(database) as alias, connections[alias].cursor() as cursor:
        vendor = ddl.vendor_of(connections[alias])
        objects = ddl.object_statements(vendor, lacking=LACKING)
        for kind in EVENT_KINDS:
            triggers = [thing for thing in objects if thing.startswith(f"trigger {kind.event}.")]
            for thing in triggers:
                drop, _ = ddl.recreate_statements(thing, "", vendor)
                cursor.execute(drop)
            cursor.execute(f"ALTER TABLE {kind.event} DROP COLUMN based_on")
            for thing in triggers:
                cursor.execute(objects[thing])
        cursor.execute("DELETE FROM django_migrations WHERE name = %s", [MIGRATION])


def test_the_quick_look_knows_an_older_channel_and_a_migrated_one(houston, command):
    make_older(houston)
    with till(houston) as alias:
        assert is_unchanged(connections[alias], LACKING)
        assert not is_unchanged(connections[alias], NO_COLUMNS)

    command("migrate_channels", houston.channel.code)

    with till(houston) as alias:
        assert is_unchanged(connections[alias], NO_COLUMNS)


def test_hq_visits_a_channel_of_an_older_version(older_store):
    guid = make_customer(older_store, "Ann")
    run(JobCode.PIPELINE)
    make_event("customer", older_store, async_account=guid, operation="update", first_name="Anna")

    assert run(JobCode.PIPELINE)["outcome"] == "succeeded"

    assert Customer.objects.get(guids__pk=guid).first_name == "Anna"
    assert run(JobCode.RECONCILE)["outcome"] in ("succeeded", "nothing_to_do")
    assert broken_promises() == []


def test_migrate_channels_adds_the_column_and_guards_it(older_store, command):
    make_customer(older_store, "Ann")

    assert "migrated" in command("migrate_channels", older_store.channel.code)

    guid = make_customer(older_store, "Bo", based_on=3)
    with pytest.raises(DatabaseError, match="an event never changes"):
        query(older_store, "UPDATE async_customer SET based_on = 4")
    run(JobCode.PIPELINE)
    assert AsyncCustomer.objects.get(async_account=guid).based_on == 3
    assert broken_promises() == []


def test_a_register_of_a_newer_version_merges_into_an_older_store(older_store, command):
    with offline_register(older_store) as register:
        make_customer(register, "Ann", based_on=3, created_offline=True)

        assert merge(register, older_store).copied == 1
        run(JobCode.PIPELINE)
        command("migrate_channels", older_store.channel.code)

        counts = merge(register, older_store)
        assert (counts.known, counts.conflicts) == (1, [])
        assert not Quarantine.objects.exists()
        assert broken_promises() == []
