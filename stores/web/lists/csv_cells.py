"""Values as they may stand in a CSV: a number stays one, and a text is never a formula."""

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from stores.web.format import EMPTY_VALUE

# What cannot be seen, or only as a blank.
CELL_BLANKS = (
    r"\s\x00-\x20\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e"
    r"\u200b-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0"
)
# A spreadsheet takes a cell that begins with one of these for a formula, also after blanks; the
# last four are wide signs. It tries no place twice, however many blanks a text has.
FORMULA_START = re.compile(
    rf"(?<![;{CELL_BLANKS}])(?:^|[;{CELL_BLANKS}]++)(?=[=+\-@\uff1d\uff0b\uff0d\uff20])"
)
# One that divides at other signs than commas begins a cell after each of these, too.
DIVIDERS = frozenset(";\t\r\n\v\f\x85\u2028\u2029")


def csv_cell(value: Any) -> Any:
    """A value as it may stand in a CSV: a number stays one, and a text is never a formula."""
    if value is None or value == EMPTY_VALUE:
        return ""
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, bool | int | float):
        return value
    text = FORMULA_START.sub(escape_formula, str(value))
    return f"'{text}" if text.startswith(("\t", "\r", "\n")) else text


def escape_formula(match: re.Match[str]) -> str:
    """The blanks before a sign, and an apostrophe where a cell may begin in them."""
    begins = match.start() == 0 or not DIVIDERS.isdisjoint(match[0])
    return f"{match[0]}'" if begins else match[0]
