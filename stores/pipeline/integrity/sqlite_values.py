"""Convert values of a SQLite channel, whose columns may hold anything, into COPY's text format.

What is not a value of the column's type becomes NULL here, or -infinity for a time; the checks find
the row all the same.
"""

import re
from collections.abc import Callable
from datetime import datetime

from stores.channeldb.exchange.protocol import GUID_FORM
from stores.channeldb.exchange.sqlite_values import DATE_FORM, ESCAPES, TIME_FORM

NULL_TEXT = r"\N"
BIGINT_FORM = re.compile(r"-?[0-9]{1,18}")
INTEGER_FORM = re.compile(r"-?[0-9]{1,9}")
NUMERIC_FORM = re.compile(r"-?[0-9]{1,100}(\.[0-9]{1,100})?")


def text_or_nothing(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


def lenient_text(value: bytes | None) -> str:
    if value is None:
        return NULL_TEXT
    return value.decode("utf-8", "replace").replace("\0", "\ufffd").translate(ESCAPES)


def reader_of_form(form: re.Pattern[str]) -> Callable[[bytes | None], str]:
    """Return a reader of values that have a form. Anything else becomes NULL."""

    def read(value: bytes | None) -> str:
        text = (value or b"").decode("ascii", "replace")
        return text if form.fullmatch(text) else NULL_TEXT

    return read


def lenient_time(value: bytes | None) -> str:
    """Return a time. A value that is not a time is the oldest time, because it is not empty."""
    if value is None:
        return NULL_TEXT
    text = value.decode("ascii", "replace")
    return text if TIME_FORM.fullmatch(text) and is_valid(text) else "-infinity"


def lenient_date(value: bytes | None) -> str:
    text = (value or b"").decode("ascii", "replace")
    return text if DATE_FORM.fullmatch(text) and is_valid(text) else NULL_TEXT


def is_valid(text: str) -> bool:
    """Return whether a text in the form of a date or time is one: no 30th of February."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


LENIENT_READERS: dict[str, Callable[[bytes | None], str]] = {
    "uuid": reader_of_form(GUID_FORM),
    "text": lenient_text,
    "bigint": reader_of_form(BIGINT_FORM),
    "integer": reader_of_form(INTEGER_FORM),
    "numeric": reader_of_form(NUMERIC_FORM),
    "boolean": reader_of_form(re.compile("[01]")),
    "timestamptz": lenient_time,
    "date": lenient_date,
}
