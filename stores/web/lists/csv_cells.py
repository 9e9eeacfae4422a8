"""Values as CSV cells that a spreadsheet does not take for formulas."""

import re
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from stores.web.format import EMPTY_VALUE

# Characters that are invisible or look like a space.
BLANKS = (
    r"\s\x00-\x20\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e"
    r"\u200b-\u200f\u2028-\u202f\u205f-\u206f\u2800\u3000\u3164\ufe00-\ufe0f\ufeff\uffa0"
)
# The place before a sign with which a formula begins, also after blanks; the last four signs are
# full-width. The possessive quantifier keeps the search linear in long runs of blanks.
FORMULA_START = re.compile(
    rf"(?<![;{BLANKS}])(?:^|[;{BLANKS}]++)(?=[=+\-@\uff1d\uff0b\uff0d\uff20])"
)
# Characters after which a spreadsheet may begin a new cell, even within quotes.
SEPARATORS = frozenset(";\t\r\n\v\f\x85\u2028\u2029")


def csv_cell(value: Any) -> Any:
    """Return the value as a CSV cell; an apostrophe keeps text from being a formula."""
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
    """Add an apostrophe to the blanks before a sign if a cell can begin there."""
    begins_cell = match.start() == 0 or not SEPARATORS.isdisjoint(match[0])
    return f"{match[0]}'" if begins_cell else match[0]
