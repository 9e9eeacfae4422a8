"""Rows exactly as a channel holds them, and as quarantine has kept them, to be compared."""

import base64
from collections.abc import Sequence
from typing import Any

from django.db import connections

from stores.channeldb.connect.connection import connect
from stores.models import ChannelDatabase
from tests.support.make import engine_of


def rows_found(
    database: ChannelDatabase, table: str, columns: Sequence[str], key: str, value: Any
) -> list[dict[str, Any]]:
    """The rows of a channel's table whose key has a value: bytes for texts, numbers as numbers."""
    is_file = engine_of(database) == "sqlite"
    casts = "" if is_file else "::text"
    names = ", ".join(f"{column}{casts}" for column in columns)
    mark = "?" if is_file else "%s"
    statement = f"SELECT {names} FROM {table} WHERE {key} = {mark}"  # noqa: S608 - our own names
    with connect(database) as alias, connections[alias].cursor() as cursor:
        if is_file:
            cursor = connections[alias].connection.cursor()
            connections[alias].connection.text_factory = bytes
        cursor.execute(statement, [value])
        rows = cursor.fetchall()
    return [dict(zip(columns, map(as_bytes, row), strict=True)) for row in rows]


def as_bytes(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value


def as_kept(value: Any) -> Any:
    """A value from what HQ has kept of it: bytes for texts and for what is no text."""
    return base64.b64decode(value["base64"]) if isinstance(value, dict) else as_bytes(value)
