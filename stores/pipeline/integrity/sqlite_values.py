"""Values of a SQLite channel, which may be anything, in COPY's text format."""

import re
from collections.abc import Callable
from datetime import date, datetime

from stores.channeldb.exchange.protocol import GUID_FORM
from stores.channeldb.exchange.sqlite_values import DATE_FORM, ESCAPES, TIME_FORM

NOTHING = r"\N"
WHOLE = re.compile(r"-?[0-9]{1,18}")
SMALL = re.compile(r"-?[0-9]{1,9}")
AMOUNT = re.compile(r"-?[0-9]{1,100}(\.[0-9]{1,100})?")


def as_words(value: object) -> str:
    """A text as far as it is one; nothing for NULL."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


def as_text(value: bytes | None) -> str:
    """COPY text of a text, as far as it is one."""
    if value is None:
        return NOTHING
    return value.decode("utf-8", "replace").replace("\0", "\ufffd").translate(ESCAPES)


def in_form(form: re.Pattern[str]) -> Callable[[bytes | None], str]:
    """A reader of what has a form; anything else becomes NULL, which is nobody's."""

    def read(value: bytes | None) -> str:
        found = (value or b"").decode("ascii", "replace")
        return found if form.fullmatch(found) else NOTHING

    return read


def as_time(value: bytes | None) -> str:
    """COPY text of a time; a mark that is no time is still one, and the oldest."""
    if value is None:
        return NOTHING
    found = value.decode("ascii", "replace")
    try:
        return (
            found if TIME_FORM.fullmatch(found) and datetime.fromisoformat(found) else "-infinity"
        )
    except ValueError:
        return "-infinity"


def as_date(value: bytes | None) -> str:
    found = (value or b"").decode("ascii", "replace")
    try:
        return found if DATE_FORM.fullmatch(found) and date.fromisoformat(found) else NOTHING
    except ValueError:
        return NOTHING


READERS: dict[str, Callable[[bytes | None], str]] = {
    "uuid": in_form(GUID_FORM),
    "text": as_text,
    "bigint": in_form(WHOLE),
    "integer": in_form(SMALL),
    "numeric": in_form(AMOUNT),
    "boolean": in_form(re.compile("[01]")),
    "timestamptz": as_time,
    "date": as_date,
}
