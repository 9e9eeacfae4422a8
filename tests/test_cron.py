"""Cron expressions by the clock of a time zone, across both changes of the clocks in 2026."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ValidationError

from stores.cron import check_cron, daily, in_words, next_time, split_daily, tidy


def starts(expression: str, zone: str, day: str, count: int) -> list[str]:
    """The first times of an expression from the beginning of a day, by the clock of the zone."""
    moment = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)) - timedelta(seconds=1)
    found = []
    for _ in range(count):
        moment = next_time(expression, zone, moment)
        found.append(f"{moment.astimezone(ZoneInfo(zone)):%d %H:%M %z}")
    return found


def test_an_evening_in_chicago_is_an_hour_earlier_in_summer_by_utc():
    evenings = [
        next_time("30 22 * * *", "America/Chicago", datetime(2026, month, day, 12, tzinfo=UTC))
        for month, day in ((3, 7), (3, 8), (10, 31), (11, 1))
    ]

    assert [f"{evening:%d %H:%M}" for evening in evenings] == [
        *("08 04:30", "09 03:30"),
        *("01 03:30", "02 04:30"),
    ]


@pytest.mark.parametrize(
    ("expression", "zone", "day", "expected"),
    [
        pytest.param(
            "30 2 * * *",
            "America/Chicago",
            "2026-03-07",
            ["07 02:30 -0600", "08 03:00 -0500", "09 02:30 -0500"],
            id="skipped",
        ),
        pytest.param(
            "*/20 2 * * *",
            "America/Chicago",
            "2026-03-08",
            ["08 03:00 -0500", "09 02:00 -0500"],
            id="several skipped",
        ),
        pytest.param(
            "0 2,3 * * *",
            "America/Chicago",
            "2026-03-08",
            ["08 03:00 -0500", "09 02:00 -0500"],
            id="skipped to another",
        ),
        pytest.param(
            "0 0 * * sun",
            "America/Havana",
            "2026-03-08",
            ["08 01:00 -0400", "15 00:00 -0400"],
            id="skipped midnight",
        ),
        pytest.param(
            "0 * * * *",
            "America/Chicago",
            "2026-03-08",
            ["08 00:00 -0600", "08 01:00 -0600", "08 03:00 -0500"],
            id="every hour",
        ),
    ],
)
def test_a_time_that_the_clock_skips_comes_once_at_the_next_there_is(
    expression, zone, day, expected
):
    assert starts(expression, zone, day, len(expected)) == expected


@pytest.mark.parametrize(
    ("expression", "zone", "day", "expected"),
    [
        pytest.param(
            "30 1 * * *",
            "America/Chicago",
            "2026-10-31",
            ["31 01:30 -0500", "01 01:30 -0500", "02 01:30 -0600"],
            id="once",
        ),
        pytest.param(
            "*/30 1-2 * * *",
            "America/Chicago",
            "2026-11-01",
            ["01 01:00 -0500", "01 01:30 -0500", "01 02:00 -0600", "01 02:30 -0600"],
            id="each once",
        ),
        pytest.param(
            "30 2 * * *",
            "Europe/Amsterdam",
            "2026-10-25",
            ["25 02:30 +0200", "26 02:30 +0100"],
            id="Europe",
        ),
        pytest.param(
            "0 * * * *",
            "America/Chicago",
            "2026-11-01",
            ["01 00:00 -0500", "01 01:00 -0500", "01 01:00 -0600", "01 02:00 -0600"],
            id="every hour is every hour",
        ),
    ],
)
def test_a_time_that_comes_twice_counts_once(expression, zone, day, expected):
    assert starts(expression, zone, day, len(expected)) == expected


def test_after_the_first_of_two_equal_times_comes_the_next_day():
    first = datetime(2026, 11, 1, 6, 30, tzinfo=UTC)
    second = first + timedelta(hours=1)

    for moment in (first, second):
        start = next_time("30 1 * * *", "America/Chicago", moment)
        assert start == datetime(2026, 11, 2, 7, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "expression",
    [
        *("", "* * * *", "* * * * * *", "60 1 * * *", "0 24 * * *", "0 0 0 1 *", "*/0 * * * *"),
        *("0 0 31 2 *", "@daily", "R * * * *", "H * * * *", "0 22 * * someday", "\u0661 1 * * *"),
    ],
)
def test_what_is_no_expression_or_never_comes_is_refused(expression):
    with pytest.raises(ValidationError):
        check_cron(expression)


@pytest.mark.parametrize("expression", ["*/20 8-18 * * mon-fri", "0 22 l * *", "0 6 1 jan,jul *"])
def test_expressions_with_names_and_steps_are_valid(expression):
    check_cron(tidy(f" {expression.upper()}  "))


@pytest.mark.parametrize(
    ("days", "expression", "words"),
    [
        ([], "30 22 * * *", "every day at 22:30"),
        (["sat", "mon"], "30 22 * * mon,sat", "Monday and Saturday at 22:30"),
        (["wed", "fri", "mon"], "30 22 * * mon,wed,fri", "Monday, Wednesday and Friday at 22:30"),
        (["mon", "tue", "wed", "thu", "fri"], None, "Monday to Friday at 22:30"),
    ],
)
def test_a_time_of_day_is_an_expression_and_reads_as_a_sentence(days, expression, words):
    made = daily(time(22, 30), days)

    assert made == expression or expression is None
    assert in_words(made) == words
    at, again = split_daily(made)
    assert (at, set(again)) == (time(22, 30), set(days))


@pytest.mark.parametrize("expression", ["0,30 22 * * *", "0 22 1 * *", "0 22 * * mon-fri"])
def test_what_the_plain_fields_cannot_say_stays_an_expression(expression):
    assert split_daily(expression) is None
    assert in_words(expression) == f"cron {expression}"
