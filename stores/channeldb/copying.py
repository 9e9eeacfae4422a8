"""COPY between a channel on PostgreSQL and memory, in binary form and within bounds."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

from psycopg2 import sql

from stores.channeldb.visit import LARGEST_BATCH

BLOCK = 1 << 18


def qualified(table: str) -> sql.Composed:
    """The table in schema public, whatever the search path says."""
    return sql.SQL("{}.{}").format(sql.Identifier("public"), sql.Identifier(table))


def names(columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


class BatchTooLarge(Exception):
    """The rows asked for hold more than a batch may."""


class Bounded(BytesIO):
    """Bytes in memory, up to what a batch may hold. Errors: BatchTooLarge."""

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > LARGEST_BATCH:
            raise BatchTooLarge
        return super().write(data)


def copy_out(cursor: Any, query: sql.Composable) -> tuple[int, bytes]:
    """Rows and bytes of a query in binary COPY format. Errors: BatchTooLarge."""
    data = Bounded()
    cursor.copy_expert(
        sql.SQL("COPY ({}) TO STDOUT (FORMAT binary)").format(query), data, size=BLOCK
    )
    return int(cursor.rowcount), data.getvalue()


def copy_in(cursor: Any, table: sql.Composable, columns: Sequence[str], data: bytes) -> None:
    cursor.copy_expert(
        sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(table, names(columns)),
        BytesIO(data),
        size=BLOCK,
    )
