"""The dates that headquarters accepts, and business dates as people type them."""

import re
from datetime import UTC, date, datetime, timedelta

# The first and the last date that a row may have; business dates end sooner. Every program can hold
# the years 1900 to 9999. They are a day inside, so that no time zone moves a date out of them.
EARLIEST_DATE = date(1900, 1, 2)
LATEST_DATE = date(9999, 12, 30)


class InvalidBusinessDate(ValueError):
    """The text is not a date on which a store can have sold. The message says why."""


def parse_business_date(text: str) -> date:
    """Parse a date in the form 2026-03-01, up to latest_business_date().

    Raise InvalidBusinessDate for other texts and dates.
    """
    day = parse_iso_date(text)
    if day is None:
        raise InvalidBusinessDate(f"{text!r} is not a date in the form 2026-03-01.")
    latest = latest_business_date()
    if not EARLIEST_DATE <= day <= latest:
        raise InvalidBusinessDate(
            f"{day} cannot be a business date: enter one from {EARLIEST_DATE} to {latest}."
        )
    return day


def parse_iso_date(text: str) -> date | None:
    """The date in a text of the form 2026-03-01. None for other texts."""
    # date.fromisoformat() would also take 20260301 and 2026-W09-7.
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:  # Such as 2026-02-30.
        return None


def latest_business_date() -> date:
    """Tomorrow in UTC, by HQ's clock. East of Greenwich, a store can be in the next day already."""
    return datetime.now(UTC).date() + timedelta(days=1)
