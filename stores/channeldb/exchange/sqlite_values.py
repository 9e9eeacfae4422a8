"""Values of a SQLite file, which may be anything, read strictly and written as COPY text."""

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime
from typing import Any

from stores.channeldb.exchange.protocol import GUID_FORM
from stores.channeldb.fields import CANONICAL_MONEY

TIME_FORM = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d(:?\d\d)?)")
DATE_FORM = re.compile(r"\d{4}-\d\d-\d\d")
NUMBER_FORM = re.compile(r"-?\d{1,100}(\.\d{1,100})?", re.ASCII)
# Rows without a usable id, which nobody can tell from others.
GUID_GLOB = "-".join("[0-9a-f]" * length for length in (8, 4, 4, 4, 12))
WITHOUT_EVENT_ID = f"""(typeof("event_id") <> 'text' OR "event_id" NOT GLOB '{GUID_GLOB}')"""
# What COPY's text format would read as something else.
ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})

ValueReader = Callable[[Any], str]


class InvalidValue(ValueError):
    """A value is not what its column promises; the message is the reason's code."""


def copy_text(value: Any) -> str:
    """COPY text of a text value. A broken byte arrives as a lone surrogate."""
    if not isinstance(value, str):
        raise InvalidValue("type")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidValue("encoding") from None
    if "\0" in value:
        raise InvalidValue("encoding")
    return value.translate(ESCAPES)


def copy_guid(value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidValue("type")
    if not GUID_FORM.fullmatch(value):
        raise InvalidValue("guid_format")
    return value


def copy_time(value: Any) -> str:
    if not isinstance(value, str) or not TIME_FORM.fullmatch(value):
        raise InvalidValue("time_format")
    try:
        datetime.fromisoformat(value)
    except ValueError:
        raise InvalidValue("time_format") from None
    return value


def copy_date(value: Any) -> str:
    if not isinstance(value, str) or not DATE_FORM.fullmatch(value):
        raise InvalidValue("date_format")
    try:
        date.fromisoformat(value)
    except ValueError:
        raise InvalidValue("date_format") from None
    return value


def copy_boolean(value: Any) -> str:
    if value not in (0, 1) or not isinstance(value, int):
        raise InvalidValue("type")
    return "t" if value else "f"


def copy_bigint(value: Any) -> str:
    if not isinstance(value, int):
        raise InvalidValue("type")
    return str(value)


def copy_integer(value: Any) -> str:
    if not isinstance(value, int):
        raise InvalidValue("type")
    if not -(2**31) <= value < 2**31:
        raise InvalidValue("overflow")
    return str(value)


def copy_numeric(value: Any) -> str:
    """COPY text of an exact amount; a whole number is one too, a floating one never."""
    digits = str(value) if isinstance(value, int) else value
    if not isinstance(digits, str) or not NUMBER_FORM.fullmatch(digits):
        raise InvalidValue("amount_format")
    if not CANONICAL_MONEY.fullmatch(digits):
        raise InvalidValue("overflow")
    return digits


READERS: dict[str, ValueReader] = {
    "text": copy_text,
    "uuid": copy_guid,
    "timestamptz": copy_time,
    "date": copy_date,
    "boolean": copy_boolean,
    "bigint": copy_bigint,
    "integer": copy_integer,
    "numeric": copy_numeric,
}


def boolean_of_copy(value: str) -> int | None:
    return None if value == r"\N" else int(value == "t")


def whole_number_of_copy(value: str) -> int | None:
    return None if value == r"\N" else int(value)


# Types that SQLite holds otherwise than COPY's text format writes them.
COPY_READERS: dict[str, Callable[[str], Any]] = {
    "boolean": boolean_of_copy,
    "bigint": whole_number_of_copy,
    "integer": whole_number_of_copy,
}


def is_plain_text(value: Any) -> bool:
    """Whether a value can be kept as a text, as it is."""
    if isinstance(value, str):
        return "\0" not in value and value.encode("utf-8", "replace").decode() == value
    return isinstance(value, int)


class InvalidRow(Exception):
    """A row holds a value that breaks its column's form."""

    def __init__(self, reason: str, field: str) -> None:
        super().__init__(reason)
        self.reason, self.field = reason, field


def copy_line(
    values: Sequence[Any], readers: Sequence[ValueReader], columns: Sequence[str], required: int
) -> str:
    """One row in COPY's text format. Errors: InvalidRow for the first value out of form."""
    fields = []
    for place, (value, reader) in enumerate(zip(values, readers, strict=True)):
        if value is None:
            if place == required:
                raise InvalidRow("key_missing", columns[place])
            fields.append(r"\N")
            continue
        try:
            fields.append(reader(value))
        except InvalidValue as error:
            # Without its id an event cannot be told from another one.
            reason = "key_missing" if place == required else str(error)
            raise InvalidRow(reason, columns[place]) from None
    return "\t".join(fields) + "\n"
