"""COPY data: between a channel on PostgreSQL and memory, within bounds, and cut into rows.

Cutting is needed only to find the row for which PostgreSQL refuses them all.
"""

import re
import struct
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Any
from uuid import UUID

from psycopg2 import sql

from stores.channeldb.exchange.protocol import MAX_BATCH_BYTES, EventTable
from stores.hqdb.sql import COPY_BUFFER_BYTES, identifiers, listed


def qualified(table: str) -> sql.Composed:
    """The table in schema public, whatever the search path says."""
    return sql.SQL("{}.{}").format(sql.Identifier("public"), sql.Identifier(table))


def columns_of(source: EventTable) -> sql.Composed:
    """The columns that are read of an event table; those that the channel lacks are empty."""
    return listed(
        sql.SQL("NULL") if column in source.lacking else sql.Identifier(column)
        for column in source.columns
    )


class BatchTooLarge(Exception):
    """The rows asked for hold more than a batch may."""


class BoundedBuffer(BytesIO):
    """Bytes in memory, up to what a batch may hold. Errors: BatchTooLarge."""

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > MAX_BATCH_BYTES:
            raise BatchTooLarge
        return super().write(data)


def copy_from_channel(cursor: Any, query: sql.Composable) -> tuple[int, bytes]:
    """Rows and bytes of a query in binary COPY format. Errors: BatchTooLarge."""
    data = BoundedBuffer()
    cursor.copy_expert(
        sql.SQL("COPY ({}) TO STDOUT (FORMAT binary)").format(query), data, COPY_BUFFER_BYTES
    )
    return int(cursor.rowcount), data.getvalue()


def copy_to_channel(
    cursor: Any, table: sql.Composable, columns: Sequence[str], data: bytes, *, binary: bool
) -> None:
    cursor.copy_expert(
        sql.SQL("COPY {} ({}) FROM STDIN {}").format(
            table, identifiers(columns), sql.SQL("(FORMAT binary)" if binary else "(FORMAT text)")
        ),
        BytesIO(data),
        COPY_BUFFER_BYTES,
    )


# Of the binary format: signature, flags and the length of an extension that nobody uses.
COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_TRAILER = b"\xff\xff"
# Of the text format.
ESCAPED = re.compile(r"\\([\\bfnrtv])")
UNESCAPED = {"\\": "\\", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def split_rows(data: bytes, *, binary: bool) -> list[bytes]:
    if not binary:
        # Line ends inside a value are escaped.
        return [line + b"\n" for line in data.split(b"\n")[:-1]]
    rows, place = [], len(COPY_HEADER)
    while data[place : place + 2] != COPY_TRAILER:
        *_, (_, end) = binary_fields(data, place)
        rows.append(data[place:end])
        place = end
    return rows


def join_rows(rows: Sequence[bytes], *, binary: bool) -> bytes:
    return COPY_HEADER + b"".join(rows) + COPY_TRAILER if binary else b"".join(rows)


def row_values(row: bytes, types: Sequence[str], *, binary: bool) -> tuple[Any, ...]:
    """The columns of one row: texts, ids, counters; of other types the bytes as they travel."""
    if not binary:
        return tuple(map(from_text, row[:-1].decode().split("\t")))
    fields = [value for value, _ in binary_fields(row, 0)]
    return tuple(from_binary(value, name) for value, name in zip(fields, types, strict=True))


def binary_fields(data: bytes, place: int) -> Iterator[tuple[bytes | None, int]]:
    """Each field of the row that begins at `place`, and where it ends."""
    (count,) = struct.unpack_from("!h", data, place)
    place += 2
    for _ in range(count):
        (length,) = struct.unpack_from("!i", data, place)
        place += 4
        yield (None if length < 0 else data[place : place + length]), place + max(length, 0)
        place += max(length, 0)


def from_binary(value: bytes | None, name: str) -> Any:
    if value is None:
        return None
    if name == "uuid":
        return str(UUID(bytes=value))
    if name == "bigint":
        return int.from_bytes(value, "big", signed=True)
    if name == "boolean":
        return value == b"\x01"
    return value.decode("utf-8", "surrogateescape") if name == "text" else value


def from_text(value: str) -> str | None:
    if value == r"\N":
        return None
    return ESCAPED.sub(lambda match: UNESCAPED[match[1]], value)
