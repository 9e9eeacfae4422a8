"""Channel databases on PostgreSQL that serve one test after the other.

To copy the template takes a tenth of a second, longer than many a test takes; to empty a database
a hundredth. One that a test left in another shape than it found it is dropped.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any
from uuid import UUID

import psycopg2
from django.conf import settings
from psycopg2 import sql

from tests.support.databases import copy_database, drop_database, rename_database
from tests.support.prepared import CHANNEL

# Everything in a database but its rows, by how many rows the catalogs have and when these were
# written: a change writes later ones, and copies have the template's. Last, how many large tables
# there are: a test that filled them left dead rows.
SHAPE = """
    WITH ours AS MATERIALIZED (
      SELECT oid, xmin, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace),
    placed AS MATERIALIZED (
      SELECT objid FROM pg_depend
       WHERE refclassid = 'pg_namespace'::regclass AND refobjid = 'public'::regnamespace),
    written (xmin) AS (
      SELECT xmin FROM ours
      UNION ALL SELECT xmin FROM pg_attribute WHERE attrelid = ANY (ARRAY(SELECT oid FROM ours))
      UNION ALL SELECT xmin FROM pg_attrdef
      UNION ALL SELECT xmin FROM pg_trigger
      UNION ALL SELECT xmin FROM pg_constraint
      UNION ALL SELECT xmin FROM pg_index WHERE indrelid = ANY (ARRAY(SELECT oid FROM ours))
      UNION ALL SELECT xmin FROM pg_rewrite
      UNION ALL SELECT xmin FROM pg_policy
      UNION ALL SELECT xmin FROM pg_proc WHERE oid = ANY (ARRAY(SELECT objid FROM placed))
      UNION ALL SELECT xmin FROM pg_type WHERE oid = ANY (ARRAY(SELECT objid FROM placed))
      UNION ALL SELECT xmin FROM pg_operator WHERE oid = ANY (ARRAY(SELECT objid FROM placed))
      UNION ALL SELECT xmin FROM pg_namespace WHERE nspname !~ '^pg_(toast|temp)'
      UNION ALL SELECT xmin FROM pg_extension
      UNION ALL SELECT xmin FROM pg_event_trigger)
    SELECT concat_ws(' ', count(*), sum(xmin::text::bigint), (
             SELECT concat_ws(' ', datdba, datacl, datconnlimit, datallowconn, setconfig)
               FROM pg_database d LEFT JOIN pg_db_role_setting s ON s.setdatabase = d.oid
              WHERE datname = current_database()), (
             SELECT count(*) FROM ours WHERE relkind = 'r' AND pg_relation_size(oid) > 100000))
      FROM written"""
TABLES = """
    SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"""
# The next row of each table is its first again.
REWIND = """
    SELECT setval(oid::regclass, 1, false) FROM pg_class
     WHERE relkind = 'S' AND relname LIKE '%_replication_counter_seq'"""
NEW_IDENTITY = """
    UPDATE exchange_state SET database_id = gen_random_uuid(), nonce = gen_random_uuid()
    RETURNING database_id, epoch, nonce"""
# database_id, epoch and nonce, by which HQ recognizes a database; ids as the driver reads them.
Identity = tuple[UUID | str, int, UUID | str]


class DatabasePool:
    """The databases that are free, and what each must be like."""

    def __init__(self) -> None:
        self.free: list[tuple[str, Identity]] = []
        self.numbers = count(1)
        self.shape = ""
        self.rows: dict[str, str] = {}

    def take(self, name: str) -> Identity:
        """A database of this name: the template's tables and rows, an identity of its own."""
        drop_database(name)
        if self.free:
            kept, identity = self.free.pop()
            rename_database(kept, name)
            return identity
        copy_database(CHANNEL, name)
        with opened(name) as cursor:
            if not self.shape:
                self.learn(cursor)
            return new_identity(cursor)

    def learn(self, cursor: Any) -> None:
        """What a new one is like."""
        self.shape = one(cursor, SHAPE)
        cursor.execute(TABLES)
        for (table,) in cursor.fetchall():
            every = sql.SQL("SELECT coalesce(json_agg(t), '[]') FROM {} t")
            if rows := one(cursor, every.format(sql.Identifier(table))):
                self.rows[table] = json.dumps(rows)

    def put_back(self, name: str) -> None:
        """Keep the database for the next test if it can be as it was; else drop it."""
        with suppress(psycopg2.Error):
            if identity := self.restore(name):
                kept = f"kept_{next(self.numbers)}"
                rename_database(name, kept)
                self.free.append((kept, identity))
                return
        drop_database(name)

    def restore(self, name: str) -> Identity | None:
        """Make the rows what they were, with a new identity; None if more than rows had changed."""
        with opened(name) as cursor:
            if one(cursor, SHAPE) != self.shape:
                return None
            cursor.execute("SET session_replication_role = replica; SET lock_timeout = '1s'")
            cursor.execute(TABLES)
            names = [sql.Identifier(table) for (table,) in cursor.fetchall()]
            emptied = [sql.SQL("DELETE FROM {}").format(table) for table in names]
            cursor.execute(sql.SQL("; ").join(emptied))
            for table, rows in self.rows.items():
                again = "INSERT INTO {0} SELECT * FROM json_populate_recordset(NULL::{0}, %s)"
                cursor.execute(sql.SQL(again).format(sql.Identifier(table)), [rows])
            cursor.execute(REWIND)
            return new_identity(cursor)


@contextmanager
def opened(name: str) -> Iterator[Any]:
    """A cursor on a database of the embedded server, in one transaction."""
    connection = psycopg2.connect(host=str(settings.EMBEDDED.sockets), user="syncline", dbname=name)
    try:
        with connection, connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def new_identity(cursor: Any) -> Identity:
    cursor.execute(NEW_IDENTITY)
    identity: Identity = cursor.fetchone()
    return identity


def one(cursor: Any, statement: str | sql.Composable) -> Any:
    cursor.execute(statement)
    return cursor.fetchone()[0]
