"""The days that headquarters takes, and a business date as people type it."""

import re
from datetime import UTC, date, datetime, timedelta

# What every reader of a row can hold, also at the edge of a time zone.
EARLIEST_DATE, LATEST_DATE = date(1900, 1, 2), date(9999, 12, 30)
DATE_PATTERN = r"\d{4}-\d\d-\d\d"


class NoBusinessDate(ValueError):
    """What somebody typed names no day on which a store can have sold."""


def business_date(text: str) -> date:
    """A day as people type it: 2026-03-01, and no other form. Errors: NoBusinessDate."""
    try:
        day = date.fromisoformat(text) if re.fullmatch(DATE_PATTERN, text, re.ASCII) else None
    except ValueError:
        day = None
    if day is None:
        raise NoBusinessDate(f"{text!r} is not a date in the form 2026-03-01.")
    if not EARLIEST_DATE <= day <= latest_business_date():
        raise NoBusinessDate(
            f"{day} cannot be a business date: enter one from {EARLIEST_DATE} to"
            f" {latest_business_date()}."
        )
    return day


def latest_business_date() -> date:
    """The last day on which a store can have sold: east of Greenwich it may be tomorrow here."""
    return datetime.now(UTC).date() + timedelta(days=1)
