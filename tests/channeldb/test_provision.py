"""Channel databases are created and migrated, and their tills get rights, once or repeatedly.

From conftest.py: `houston` is a channel on PostgreSQL; `register` is a channel on SQLite; `channel`
is a channel, once on PostgreSQL and once on SQLite; `nowhere` is a channel without a database, once
on each engine.
"""

import stat
from urllib.parse import quote

import psycopg2
import pytest
from django.db import connections
from django.db.migrations.executor import MigrationExecutor

from stores.channeldb import provision
from stores.channeldb.connect.connection import connect
from stores.channeldb.connect.url import sqlite_path
from stores.channeldb.errors import ChannelError, ChannelMisconfigured, ChannelUnreachable
from stores.channeldb.schema import ddl
from stores.channeldb.schema.tables import EVENT_TABLES, HQ_TABLES, PART_TABLES, TABLE_BY_NAME
from tests.support.channels import Channel, Till, event, full_row, guid, on_server

ROLE = 'Till "A" role'
QUOTED = '"Till ""A"" role"'


@pytest.fixture(scope="session")
def role(templates):
    """A role on the server, which is dropped after the databases in which it has rights."""
    on_server(f"CREATE ROLE {QUOTED} LOGIN")
    yield ROLE
    on_server(f"DROP ROLE {QUOTED}")


def identity(channel):
    with connect(channel) as alias:
        return Till(alias).value("SELECT database_id FROM exchange_state")


def test_a_database_is_created_and_migrated(nowhere):
    provision.create_database(nowhere)

    assert provision.migrate_database(nowhere) is True
    with connect(nowhere) as alias:
        assert Till(alias).value("SELECT count(*) FROM customer_lookup") == 0


def test_creating_and_migrating_again_changes_nothing(channel):
    before = identity(channel)
    with connect(channel) as alias:
        Till(alias).insert("async_customer", **event())

    provision.create_database(channel)

    assert provision.migrate_database(channel) is False
    assert identity(channel) == before
    with connect(channel) as alias:
        assert Till(alias).value("SELECT count(*) FROM async_customer") == 1


def test_only_the_migration_of_channels_is_applied(nowhere):
    provision.create_database(nowhere)
    provision.migrate_database(nowhere)

    with connect(nowhere) as alias:
        assert Till(alias).sql("SELECT app, name FROM django_migrations") == [
            ("channeldb", "0001_schema"),
            ("channeldb", "0002_positions"),
            ("channeldb", "0003_based_on"),
        ]


def test_migrating_an_old_channel_adds_its_position_and_keeps_its_rows(channel):
    before = identity(channel)
    with connect(channel, migrate=True) as alias:
        Till(alias).insert("async_customer", **event())
        MigrationExecutor(connections[alias]).migrate([("channeldb", "0001_schema")])
        Till(alias).sql("ALTER TABLE exchange_state DROP COLUMN positions")

    assert provision.migrate_database(channel) is True

    with connect(channel) as alias:
        assert Till(alias).sql("SELECT positions FROM exchange_state") == [("{}",)]
        assert Till(alias).value("SELECT count(*) FROM async_customer") == 1
    assert identity(channel) == before


def test_an_interrupted_migration_leaves_no_table(nowhere, monkeypatch):
    provision.create_database(nowhere)
    statements = ddl.statements

    def interrupted_statements(vendor):
        yield from list(statements(vendor))[:9]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ddl, "statements", interrupted_statements)
        with pytest.raises(KeyboardInterrupt):
            provision.migrate_database(nowhere)

    with connect(nowhere, migrate=True) as alias:
        tables = connections[alias].introspection.table_names()
        assert TABLE_BY_NAME.keys().isdisjoint(tables)
    assert provision.migrate_database(nowhere) is True


def test_a_database_with_a_table_of_ours_is_not_migrated(nowhere):
    provision.create_database(nowhere)
    with connect(nowhere, migrate=True) as alias:
        Till(alias).sql("CREATE TABLE customer (id integer)")

    with pytest.raises(ChannelMisconfigured, match="holds a table customer"):
        provision.migrate_database(nowhere)


def test_a_copied_database_gets_an_identity_of_its_own(channel):
    before = identity(channel)

    with connect(channel) as alias:
        provision.renew_identity(alias)

    assert identity(channel) != before


def test_a_file_can_only_be_read_by_its_owner():
    channel = Channel(1, "sqlite:///made/deep/one.sqlite3")

    provision.create_database(channel)

    assert stat.S_IMODE(sqlite_path(channel).stat().st_mode) == 0o600
    assert stat.S_IMODE(sqlite_path(channel).parent.stat().st_mode) == 0o700


def test_a_file_that_cannot_be_created_is_an_unreachable_channel(settings):
    settings.SYNCLINE_DATA_DIR = "/proc/nowhere"

    with pytest.raises(ChannelUnreachable, match="its file cannot be created"):
        provision.create_database(Channel(1, "sqlite:///one.sqlite3"))


def test_a_file_below_another_file_is_an_unreachable_channel(settings, tmp_path):
    settings.SYNCLINE_DATA_DIR = tmp_path
    (tmp_path / "one").touch()

    with pytest.raises(ChannelUnreachable):
        provision.create_database(Channel(1, "sqlite:///one/two.sqlite3"))


def test_a_damaged_file_is_an_unreachable_channel(register):
    path = sqlite_path(register)
    with connect(register) as alias:
        Till(alias).sql("PRAGMA wal_checkpoint(TRUNCATE)")
    content = bytearray(path.read_bytes())
    content[4096 * 3 : 4096 * 4] = bytes(range(256)) * 16
    path.write_bytes(content)

    with pytest.raises(ChannelUnreachable, match=r"damaged|cannot be reached"):
        provision.create_database(register)


def test_the_lookup_shows_the_company_that_was_written_last(channel):
    with connect(channel) as alias:
        Till(alias).insert("async_customer", **event(async_account=guid()))

    for company in ("USMF", "USMF", "DEMF"):
        with connect(channel) as alias:
            provision.write_company(alias, company)
            assert Till(alias).value("SELECT company FROM customer_lookup") == company


def test_a_postgresql_database_elsewhere_must_exist(settings):
    url = f"postgresql://syncline@/ch_not_there?host={settings.EMBEDDED.sockets}"

    with pytest.raises(ChannelUnreachable):
        provision.create_database(Channel(1, url))


def test_a_database_behind_a_socket_can_be_migrated(houston, settings):
    name = houston.url.removeprefix("embedded:")
    url = f"postgresql://syncline@/{name}?host={settings.EMBEDDED.sockets}"

    assert provision.migrate_database(Channel(houston.pk, url)) is False


def test_tills_may_insert_events_and_read_every_table(houston, role):
    provision.grant_till_role(houston, role)

    with connect(houston) as alias:
        till = Till(alias)
        till.sql(f"SET ROLE {QUOTED}")
        for table in EVENT_TABLES + PART_TABLES:
            till.insert(table.name, **full_row(table.name))
            till.insert(table.name, **full_row(table.name), ending="ON CONFLICT DO NOTHING")
        for name in (*TABLE_BY_NAME, "customer_lookup"):
            till.sql(f"SELECT * FROM {name}")  # noqa: S608 - names of the schema


def test_the_role_of_tills_may_do_nothing_else(houston, role):
    provision.grant_till_role(houston, role)

    with connect(houston) as alias:
        till = Till(alias)
        till.insert("async_customer", **event())
        till.sql(f"SET ROLE {QUOTED}")
        for table in EVENT_TABLES + PART_TABLES:
            with till.refused("permission denied"):
                till.sql(f"DELETE FROM {table.name}")  # noqa: S608
        with till.refused("permission denied"):
            till.sql("UPDATE async_customer SET acknowledged_at = now()")
        for table in HQ_TABLES:
            with till.refused("permission denied"):
                till.insert(table.name, **full_row(table.name))


def test_granting_again_changes_nothing(houston, role):
    provision.grant_till_role(houston, role)
    provision.grant_till_role(houston, role)


def test_a_role_that_does_not_exist_is_named(houston):
    with pytest.raises(ChannelError, match='Channel houston: the role "nobody" does not exist'):
        provision.grant_till_role(houston, "nobody")


def test_a_sqlite_file_has_no_roles(register):
    with pytest.raises(ChannelError, match="Channel houston is a SQLite file, which has no roles"):
        provision.grant_till_role(register, "till")


def test_a_role_without_rights_cannot_grant_them(houston, role, settings):
    name = houston.url.removeprefix("embedded:")
    url = f"postgresql://{quote(role)}@/{name}?host={settings.EMBEDDED.sockets}"

    with pytest.raises(
        ChannelMisconfigured, match="does not grant HQ's role this privilege"
    ) as refusal:
        provision.grant_till_role(Channel(houston.pk, url), role)

    assert not isinstance(refusal.value.__cause__, psycopg2.Error)
