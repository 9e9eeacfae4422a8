"""Rows byte by byte, as a channel holds them and as quarantine keeps them, for comparison."""

import base64
import json
from collections.abc import Sequence
from typing import Any

from django.db import connections

from stores.channeldb.connect.connection import connect
from stores.models import ChannelDatabase, Quarantine
from stores.pipeline.events import document_tables
from stores.pipeline.events.document_tables import DocumentTable
from tests.support.make import engine_of

Row = dict[str, Any]


def channel_rows(
    database: ChannelDatabase, table: str, columns: Sequence[str], key: str, value: Any
) -> list[Row]:
    """The rows of a channel's table with this key: texts as bytes, numbers as numbers."""
    is_sqlite = engine_of(database) == "sqlite"
    cast = "" if is_sqlite else "::text"
    names = ", ".join(f"{column}{cast}" for column in columns)
    placeholder = "?" if is_sqlite else "%s"
    statement = f"SELECT {names} FROM {table} WHERE {key} = {placeholder}"  # noqa: S608 - our own names
    with connect(database) as alias, connections[alias].cursor() as cursor:
        if is_sqlite:
            cursor = connections[alias].connection.cursor()
            connections[alias].connection.text_factory = bytes
        cursor.execute(statement, [value])
        rows = cursor.fetchall()
    return [dict(zip(columns, map(as_bytes, row), strict=True)) for row in rows]


def quarantined_row(case: Quarantine) -> Row:
    """The quarantined row: texts, and values of any other form, as bytes."""
    raw = json.loads(bytes(case.raw))
    return {column: decode_value(value) for column, value in raw.items()}


def quarantined_rows(case: Quarantine, table: DocumentTable) -> list[Row]:
    """The rows of one table of a quarantined document: texts, and any other form, as bytes."""
    raw = json.loads(bytes(case.raw))
    rows = [raw] if table is document_tables.HEADER else raw[table.event]
    return [decode_row(row, table.sent_columns) for row in rows]


def decode_row(row: Row | list[Any], columns: Sequence[str]) -> Row:
    # Lines and payments are lists of values where upload could not read the document.
    values = row if isinstance(row, dict) else dict(zip(columns, row, strict=True))
    return {column: decode_value(value) for column, value in values.items()}


def decode_value(value: Any) -> Any:
    return base64.b64decode(value["base64"]) if isinstance(value, dict) else as_bytes(value)


def as_bytes(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value
