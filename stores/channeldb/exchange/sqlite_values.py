"""Values of a SQLite file, which may be anything, read strictly and written as COPY text."""

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any

from stores.channeldb.exchange.protocol import GUID
from stores.channeldb.fields import CANONICAL_MONEY

TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d(:?\d\d)?)")
DATE = re.compile(r"\d{4}-\d\d-\d\d")
PLAIN_NUMBER = re.compile(r"-?\d{1,100}(\.\d{1,100})?", re.ASCII)
# Rows without a usable id, which nobody can tell from others.
DIGITS = "-".join("[0-9a-f]" * length for length in (8, 4, 4, 4, 12))
NAMELESS = f"""(typeof("event_id") <> 'text' OR "event_id" NOT GLOB '{DIGITS}')"""
# What COPY's text format would read as something else.
ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})

Column = Callable[[Any], str]


class Broken(ValueError):
    """A value is not what its column promises; the message is the reason's code."""


def text(value: Any) -> str:
    """COPY text of a text value. A broken byte arrives as a lone surrogate."""
    if not isinstance(value, str):
        raise Broken("type")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Broken("encoding") from None
    if "\0" in value:
        raise Broken("encoding")
    return value.translate(ESCAPES)


def guid(value: Any) -> str:
    if not isinstance(value, str):
        raise Broken("type")
    if not GUID.fullmatch(value):
        raise Broken("guid_format")
    return value


def time(value: Any) -> str:
    if not isinstance(value, str) or not TIME.fullmatch(value):
        raise Broken("time_format")
    try:
        datetime.fromisoformat(value)
    except ValueError:
        raise Broken("time_format") from None
    return value


def day(value: Any) -> str:
    if not isinstance(value, str) or not DATE.fullmatch(value):
        raise Broken("date_format")
    try:
        date.fromisoformat(value)
    except ValueError:
        raise Broken("date_format") from None
    return value


def truth(value: Any) -> str:
    if value not in (0, 1) or not isinstance(value, int):
        raise Broken("type")
    return "t" if value else "f"


def whole(value: Any) -> str:
    if not isinstance(value, int):
        raise Broken("type")
    return str(value)


def small(value: Any) -> str:
    if not isinstance(value, int):
        raise Broken("type")
    if not -(2**31) <= value < 2**31:
        raise Broken("overflow")
    return str(value)


def money(value: Any) -> str:
    """COPY text of an exact amount; a whole number is one too, a floating one never."""
    found = str(value) if isinstance(value, int) else value
    if not isinstance(found, str) or not PLAIN_NUMBER.fullmatch(found):
        raise Broken("amount_format")
    if not CANONICAL_MONEY.fullmatch(found):
        raise Broken("overflow")
    return found


READERS: dict[str, Column] = {
    "text": text,
    "uuid": guid,
    "timestamptz": time,
    "date": day,
    "boolean": truth,
    "bigint": whole,
    "integer": small,
    "numeric": money,
}


def is_told(value: Any) -> bool:
    """Whether a value can be kept as a text, as it is."""
    if isinstance(value, str):
        return "\0" not in value and value.encode("utf-8", "replace").decode() == value
    return isinstance(value, int)


class BrokenRow(Exception):
    """A row holds a value that breaks its column's form."""

    def __init__(self, reason: str, field: str) -> None:
        super().__init__(reason)
        self.reason, self.field = reason, field


def line(
    values: Sequence[Any], readers: Sequence[Column], columns: Sequence[str], required: int
) -> str:
    """One row in COPY's text format. Errors: BrokenRow for the first value out of form."""
    fields = []
    for place, (value, reader) in enumerate(zip(values, readers, strict=True)):
        if value is None:
            if place == required:
                raise BrokenRow("key_missing", columns[place])
            fields.append(r"\N")
            continue
        try:
            fields.append(reader(value))
        except Broken as error:
            # Without its id an event cannot be told from another one.
            reason = "key_missing" if place == required else str(error)
            raise BrokenRow(reason, columns[place]) from None
    return "\t".join(fields) + "\n"
