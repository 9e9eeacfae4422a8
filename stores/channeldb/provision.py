"""Make a channel's database and its tables: what `create_channel` and `migrate_channels` call."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg2
from django.conf import settings
from django.db import DatabaseError, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from psycopg2 import errors, sql

from stores.channeldb.connect import url
from stores.channeldb.connect.connection import (
    applied_migrations,
    connect,
    is_connection_error,
    missing_migrations,
    require_intact_file,
    require_schema,
    translated,
)
from stores.channeldb.connect.url import Database
from stores.channeldb.errors import ChannelError, ChannelMisconfigured, ChannelUnreachable
from stores.channeldb.exchange.sqlite_values import WITHOUT_EVENT_ID
from stores.channeldb.models import ChannelSetting
from stores.channeldb.router import APP
from stores.channeldb.schema import ddl
from stores.channeldb.schema.drift import drifted_objects
from stores.channeldb.schema.tables import EVENT_TABLES, HQ_TABLES, PART_TABLES, TABLE_BY_NAME
from stores.messages.message import Message

# Two commands that migrate one channel at once: the second waits, then finds nothing to do.
MIGRATION_LOCK = 0x53594E43


def create_database(database: Database) -> None:
    """See that the database exists; it may still be without tables.

    Effects: makes an embedded database, or a SQLite file with its folders. A PostgreSQL database
    elsewhere must be there already. Errors: ChannelMisconfigured, ChannelUnreachable.
    """
    if url.is_embedded(database):
        create_embedded(database)
    elif url.is_sqlite(url.resolved_url(database)):
        create_file(database)
    require_database(database)


def require_database(database: Database) -> None:
    """Refuse a database that is not there, or whose file is damaged. Makes nothing.

    Errors: ChannelMisconfigured, ChannelUnreachable.
    """
    require_file(database)
    with connect(database, migrate=True) as alias:
        require_intact_file(database, connections[alias])


def require_file(database: Database) -> None:
    """Refuse the address of a file that is not there. Errors: ChannelUnreachable."""
    if url.is_sqlite(url.resolved_url(database)) and not url.sqlite_path(database).exists():
        raise ChannelUnreachable(Message("channel_file_absent", channel=database.label))


def embedded_server_runs() -> bool:
    """Whether the embedded server answers on this computer, so that HQ can make databases in it."""
    return (settings.EMBEDDED.sockets / ".s.PGSQL.5432").exists()


def create_file(database: Database) -> None:
    """Make an empty file that only this user may read; an existing one is left alone."""
    path = url.sqlite_path(database)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_NOFOLLOW, 0o600))
    except FileExistsError:
        pass
    except OSError:
        raise ChannelUnreachable(
            Message("channel_file_impossible", channel=database.label)
        ) from None


def create_embedded(database: Database) -> None:
    """Make the database in the embedded server unless it is there."""
    name = url.embedded_name(database)
    with embedded_server(database) as server:
        create_if_missing(server, name)


@contextmanager
def embedded_server(database: Database) -> Iterator["psycopg2.extensions.connection"]:
    """A connection to the server of an embedded database, which may not exist yet."""
    with translated(database, always=True):
        server = psycopg2.connect(
            dbname="postgres",
            user="syncline",
            host=str(settings.EMBEDDED.sockets),
            port=5432,
            connect_timeout=settings.CHANNEL_CONNECT_S,
        )
        try:
            server.autocommit = True
            yield server
        finally:
            server.close()


def create_if_missing(server: "psycopg2.extensions.connection", name: str) -> None:
    """CREATE DATABASE knows no IF NOT EXISTS, so look first and forgive whoever was faster."""
    with server.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        if cursor.fetchone():
            return
        make = sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'")
        try:
            cursor.execute(make.format(sql.Identifier(name)))
        except (errors.DuplicateDatabase, errors.UniqueViolation):
            return


def migrate_database(database: Database) -> bool:
    """Bring the tables up to date; whether there was anything to do.

    Effects: the channel's tables, in one transaction per migration; no signals, so no content types
    or permissions land in the channel. Errors: those of connect().
    """
    with connect(database, migrate=True) as alias, translated(database):
        wrapper = connections[alias]
        if wrapper.vendor == "postgresql":
            with wrapper.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_lock(%s)", [MIGRATION_LOCK])
        applied = applied_migrations(wrapper)
        if not missing_migrations(applied):
            return False
        if not applied:
            require_free_names(database, wrapper)
        executor = MigrationExecutor(wrapper)
        executor.migrate(executor.loader.graph.leaf_nodes(APP))
        return True


def recreate_objects(database: Database) -> list[str]:
    """Make missing or changed triggers, functions, indexes and the view anew; names what was made.

    A restore that went wrong, or a hand, may have left them out. Rows stay as they are.
    Effects: the channel's schema, in one transaction. Errors: ChannelDrifted when the tables
    themselves differ or something foreign is in the way; those of connect().
    """
    with connect(database, migrate=True) as alias, translated(database):
        wrapper = connections[alias]
        statements = drifted_objects(wrapper)
        try:
            with transaction.atomic(using=alias), wrapper.cursor() as cursor:
                for thing, statement in statements.items():
                    for command in ddl.recreate_statements(
                        thing, statement, ddl.vendor_of(wrapper)
                    ):
                        cursor.execute(command)
        except DatabaseError as error:
            # What is in the way is what the schema is different in.
            if is_connection_error(error):
                raise
        require_schema(database, wrapper)
        return list(statements)


def require_free_names(database: Database, wrapper: BaseDatabaseWrapper) -> None:
    """Refuse a database in which somebody else has tables of our names.

    Errors: ChannelMisconfigured.
    """
    used = sorted(TABLE_BY_NAME.keys() & set(wrapper.introspection.table_names()))
    if used:
        raise ChannelMisconfigured(
            Message("table_of_another", channel=database.label, table=used[0])
        )


def write_company(alias: str, company: str) -> None:
    """Let `customer_lookup` name the company of customers who have no account yet.

    Effects: `channel_setting` "company" of the open channel, unless it says so already.
    """
    settings_of_channel = ChannelSetting.objects.using(alias)
    if not settings_of_channel.filter(key="company", value=company).exists():
        settings_of_channel.update_or_create(key="company", defaults={"value": company})


def renew_identity(alias: str) -> None:
    """Give a copied database an identity of its own, as if HQ had never seen it.

    What it holds as acknowledged stays the original's, by its id; a row without a usable one is
    nobody's, and is sent again. Effects: `exchange_state` and such rows of the open channel.
    """
    wrapper = connections[alias]
    with transaction.atomic(using=alias), wrapper.cursor() as cursor:
        cursor.execute(
            "UPDATE exchange_state SET database_id = %s, epoch = 0, nonce = %s, account_high = %s,"
            " positions = %s",
            [str(uuid4()), str(uuid4()), "{}", "{}"],
        )
        # PostgreSQL has no other ids.
        for table in EVENT_TABLES if wrapper.vendor == "sqlite" else ():
            cursor.execute(
                f"UPDATE {table.name} SET acknowledged_at = NULL"  # noqa: S608 - our own names
                f" WHERE acknowledged_at IS NOT NULL AND {WITHOUT_EVENT_ID}"
            )


def require_till_role(database: Database, role: str) -> None:
    """Refuse a role that cannot be granted anything, before anything is made for it.

    Errors: ChannelError with a sentence when the engine has no roles or the server lacks this one;
    those of connect().
    """
    if url.is_sqlite(url.resolved_url(database)):
        raise ChannelError(Message("channel_without_roles", channel=database.label))
    if url.is_embedded(database):
        with embedded_server(database) as server, server.cursor() as cursor:
            require_role(database, cursor, role)
        return
    with (
        connect(database, migrate=True) as alias,
        translated(database),
        connections[alias].cursor() as cursor,
    ):
        require_role(database, cursor, role)


def require_role(database: Database, cursor: Any, role: str) -> None:
    """Refuse a role that the server lacks. Errors: ChannelError."""
    cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role])
    if not cursor.fetchone():
        raise ChannelError(Message("channel_role_missing", channel=database.label, role=role))


def grant_till_role(database: Database, role: str) -> None:
    """Let an existing role of the server write events and read what HQ tells.

    Effects: grants in the channel's database, in one transaction. Errors: ChannelError with a
    sentence when the role is missing or the engine has none; those of connect().
    """
    require_till_role(database, role)
    with (
        connect(database) as alias,
        translated(database),
        connections[alias].cursor() as cursor,
    ):
        cursor.execute(till_grants(role))


def till_grants(role: str) -> sql.Composed:
    """What a till needs and nothing more; identity columns need no right on their sequence."""
    written = [f"public.{table.name}" for table in EVENT_TABLES + PART_TABLES]
    read = [f"public.{table.name}" for table in HQ_TABLES] + ["public.customer_lookup"]
    return sql.SQL(
        "GRANT USAGE ON SCHEMA public TO {role};"
        "GRANT SELECT, INSERT ON {written} TO {role};"
        "GRANT SELECT ON {read} TO {role}"
    ).format(
        role=sql.Identifier(role),
        written=sql.SQL(", ").join(sql.SQL(name) for name in written),
        read=sql.SQL(", ").join(sql.SQL(name) for name in read),
    )
