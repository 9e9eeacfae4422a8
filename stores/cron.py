"""Cron expressions by the clock of a time zone: whether one is valid, when it comes next, in words.

An expression has five fields: minute, hour, day of the month, month and day of the week. Where the
clocks are put forward, a time that does not exist starts once, at the next one that does. Where
they are put back, a time that comes twice starts at its first; but every hour is every hour, so an
expression for all hours starts in both.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

from croniter import CroniterError, croniter
from django.core.exceptions import ValidationError

# Of Monday to Sunday, as expressions name them and as people do.
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
# One time of day, on every day of the week or on some, which may be ranges of names.
DAILY = re.compile(r"(\d{1,2}) (\d{1,2}) \* \* (\*|[a-z,]+)")
NAMES = "|".join(DAYS) + "|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
FIELD = rf"(?:[0-9*,/#-]|{NAMES}|l)+"
FIELDS = re.compile(f"{FIELD}(?: {FIELD}){{4}}")


def tidy(expression: str) -> str:
    """The expression as it is kept: in lower case, with single spaces."""
    return " ".join(expression.lower().split())


def check_cron(expression: str) -> None:
    """Refuse what is no expression of five fields, or one that never comes."""
    if not FIELDS.fullmatch(expression):
        raise ValidationError(
            "A cron expression has five fields: minute, hour, day of the month, month and day of"
            " the week, such as 30 22 * * mon-fri."
        )
    try:
        # A time of the past would do: the error is about expressions such as the 30th of February.
        croniter(expression, datetime(2000, 1, 1, tzinfo=UTC)).get_next()
    except CroniterError:
        raise ValidationError(
            f"{expression}: not a cron expression, or one that never comes."
        ) from None


def next_time(expression: str, zone: str, after: datetime) -> datetime:
    """The first time of the expression after this one."""
    return time_beside(expression, zone, after, croniter.get_next)


def last_time(expression: str, zone: str, before: datetime) -> datetime:
    """The last time of the expression before this one."""
    return time_beside(expression, zone, before, croniter.get_prev)


def time_beside(
    expression: str, zone: str, moment: datetime, step: Callable[..., datetime]
) -> datetime:
    """The nearest time of the expression that a step of croniter reaches from a moment."""
    times = croniter(expression, moment.astimezone(ZoneInfo(zone)))
    is_hourly = expression.split()[1] == "*"
    while True:
        beside = step(times, datetime)
        if is_hourly or not comes_again(beside):
            return beside.astimezone(UTC)


def comes_again(moment: datetime) -> bool:
    """Whether the clock has shown this time of day before, until it was put back."""
    return moment.utcoffset() != moment.replace(fold=0).utcoffset()


def daily(at: time, days: list[str]) -> str:
    """The expression of a time of day, on every day or on some of DAYS."""
    chosen = [day for day in DAYS if day in days]
    on = "*" if len(chosen) in (0, len(DAYS)) else ",".join(chosen)
    return f"{at.minute} {at.hour} * * {on}"


def split_daily(expression: str) -> tuple[time, list[str]] | None:
    """The time of day and the days (none: every day) of what daily() makes; None: another."""
    match = DAILY.fullmatch(expression)
    if not match:
        return None
    minute, hour, on = match.groups()
    days = [] if on == "*" else on.split(",")
    return (time(int(hour), int(minute)), days) if set(days) <= set(DAYS) else None


def in_words(expression: str) -> str:
    """When it comes: "Monday to Friday at 22:30", or the expression itself."""
    if (parts := split_daily(expression)) is None:
        return f"cron {expression}"
    at, days = parts
    return f"{day_words(days)} at {at:%H:%M}"


def day_words(days: list[str]) -> str:
    if not days:
        return "every day"
    numbers = [DAYS.index(day) for day in days]
    names = [DAY_NAMES[number] for number in numbers]
    if len(names) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{names[0]} to {names[-1]}"
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
