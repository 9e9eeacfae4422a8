"""Encode a row as JSON, so that every byte of it can be restored."""

import base64
import json
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any


def encode(
    columns: Sequence[str],
    values: Sequence[Any],
    parts: Mapping[str, Sequence[tuple[Any, ...]]] | None = None,
) -> bytes:
    """Return a row as JSON, with the rows of other tables that travel with it.

    Shape: column -> value, and table -> lists of values. Bytes, and texts that are not UTF-8 or
    contain a NUL, become {"base64": …}; dates and the like become texts.
    """
    row: dict[str, Any] = dict(zip(columns, map(to_json, values), strict=True))
    for table, rows in (parts or {}).items():
        row[table] = [[to_json(value) for value in cells] for cells in rows]
    return json.dumps(row).encode()


def decode(raw: bytes) -> dict[str, Any]:
    """Return the values of an encoded row by column: texts, numbers, None, and bytes."""
    return {column: from_json(value) for column, value in json.loads(bytes(raw)).items()}


def to_json(value: Any) -> Any:
    if isinstance(value, str):
        data = value.encode("utf-8", "surrogateescape")
        # PostgreSQL reads no JSON with a NUL or an infinite number in it.
        is_text = "\0" not in value and data.decode("utf-8", "replace") == value
        return value if is_text else in_base64(data)
    if isinstance(value, (bytes, memoryview)):
        return in_base64(bytes(value))
    is_number = isinstance(value, (bool, int)) or (isinstance(value, float) and isfinite(value))
    return value if value is None or is_number else str(value)


def in_base64(data: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(data).decode()}


def from_json(value: Any) -> Any:
    return base64.b64decode(value["base64"]) if isinstance(value, dict) else value
