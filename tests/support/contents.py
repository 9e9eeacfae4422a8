"""The contents of whole databases as text, to compare two states of them."""

from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import closing
from typing import Any

from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from stores.channeldb.connect.connection import connect
from stores.models import ChannelDatabase

# The rows of each table; a row is the texts "column=value", so that a difference explains itself.
Rows = Counter[tuple[str, ...]]
Contents = dict[str, Rows]


def hq_contents(*, only: Collection[str] = (), ignored: Collection[str] = ()) -> Contents:
    """HQ's tables, or only some; `ignored` names tables, or columns as "table.column"."""
    return read_tables(connection, only, ignored)


def channel_contents(
    database: ChannelDatabase, *, only: Collection[str] = (), ignored: Collection[str] = ()
) -> Contents:
    """The tables of a channel's database, each under the channel's name and its own."""
    with connect(database) as alias:
        tables = read_tables(connections[alias], only, ignored)
    return {f"{database.label} {table}": rows for table, rows in tables.items()}


def read_tables(
    database: BaseDatabaseWrapper, only: Collection[str], ignored: Collection[str]
) -> Contents:
    with closing(database.cursor()) as cursor:
        tables = set(database.introspection.table_names(cursor)) - set(ignored)
        if only:
            tables &= set(only)
        return {table: read_rows(cursor, database, table, ignored) for table in sorted(tables)}


def read_rows(
    cursor: Any, database: BaseDatabaseWrapper, table: str, ignored: Collection[str]
) -> Rows:
    columns = [
        column.name
        for column in database.introspection.get_table_description(cursor, table)
        if f"{table}.{column.name}" not in ignored
    ]
    names = ", ".join(f'CAST("{column}" AS TEXT)' for column in columns)
    cursor.execute(f'SELECT {names} FROM "{table}"')  # noqa: S608 - the database's own names
    return Counter(
        tuple(f"{column}={value}" for column, value in zip(columns, row, strict=True))
        for row in cursor.fetchall()
    )


def differences(before: Contents, after: Contents) -> dict[str, Any]:
    """For each table that differs: the rows that only `before` has, and those only `after` has."""
    return {
        table: (list(before[table] - after[table]), list(after[table] - before[table]))
        for table in before
        if before[table] != after[table]
    }


def with_labels(contents: Contents, labels: Mapping[str, str]) -> Contents:
    """The contents with a label in place of each "column=value" that has one."""
    labelled: Contents = {}
    for table, rows in contents.items():
        labelled[table] = Counter()
        for row, count in rows.items():
            labelled[table][tuple(labels.get(cell, cell) for cell in row)] += count
    return labelled
