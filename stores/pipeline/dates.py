"""The dates that headquarters accepts, and business dates as people type them."""

import re
from datetime import UTC, date, datetime, timedelta

# Every program that reads a row can hold these dates, in any time zone.
EARLIEST_DATE, LATEST_DATE = date(1900, 1, 2), date(9999, 12, 30)
DATE_PATTERN = r"\d{4}-\d\d-\d\d"


class NoBusinessDate(ValueError):
    """The text is not a date on which a store can have sold. The message says why."""


def business_date(text: str) -> date:
    """Parse a date in the form 2026-03-01. Raise NoBusinessDate for any other text or date."""
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
    """Return tomorrow's date in UTC: in stores far to the east, tomorrow has begun."""
    return datetime.now(UTC).date() + timedelta(days=1)
