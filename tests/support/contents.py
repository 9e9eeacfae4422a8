"""All that databases hold, to be compared with another moment or another ring."""

from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import closing
from typing import Any

from django.db import connection, connections
from django.db.backends.base.base import BaseDatabaseWrapper

from stores.channeldb.connect.connection import connect
from stores.models import ChannelDatabase

Contents = dict[str, "Counter[tuple[str, ...]]"]


def of_hq(*, without: Collection[str] = ()) -> Contents:
    """HQ's tables; `without` names tables, or columns as table.column."""
    return contents(connection, without)


def of_channel(database: ChannelDatabase, *, without: Collection[str] = ()) -> Contents:
    """The tables of a channel."""
    with connect(database) as alias:
        return contents(connections[alias], without)


def contents(database: BaseDatabaseWrapper, without: Collection[str]) -> Contents:
    with closing(database.cursor()) as cursor:
        tables = set(database.introspection.table_names(cursor)) - set(without)
        return {table: rows(cursor, database, table, without) for table in sorted(tables)}


def rows(
    cursor: Any, database: BaseDatabaseWrapper, table: str, without: Collection[str]
) -> "Counter[tuple[str, ...]]":
    columns = [
        column.name
        for column in database.introspection.get_table_description(cursor, table)
        if f"{table}.{column.name}" not in without
    ]
    names = ", ".join(f'CAST("{column}" AS TEXT)' for column in columns)
    cursor.execute(f'SELECT {names} FROM "{table}"')  # noqa: S608 - the database's own names
    # With the name of each column, so that a difference explains itself.
    return Counter(
        tuple(f"{column}={value}" for column, value in zip(columns, row, strict=True))
        for row in cursor.fetchall()
    )


def differences(before: Contents, after: Contents) -> dict[str, Any]:
    """The rows of each table that only one of them has."""
    return {
        table: (list(before[table] - after[table]), list(after[table] - before[table]))
        for table in before
        if before[table] != after[table]
    }


def renamed(contents: Contents, names: Mapping[str, str]) -> Contents:
    """The same with other values: `names` says what "column=value" is to be."""
    return {
        table: Counter(
            {tuple(names.get(cell, cell) for cell in row): times for row, times in held.items()}
        )
        for table, held in contents.items()
    }
