"""Business dates: the clock of the store decides which day a sale belongs to.

From conftest.py: `houston` is a store on PostgreSQL; `store` is a store, once on PostgreSQL and
once on SQLite.
"""

from datetime import date, timedelta

import pytest
from django.db import connection
from django.utils import timezone

from stores.models import Channel, RetailTransaction, Statement
from stores.models.job import JobCode
from stores.models.statement import StatementState
from tests.support.make import make_sale, run

pytestmark = pytest.mark.slow


@pytest.mark.fault("F-55", "F-56")  # clocks change; leap days, year ends and date lines
@pytest.mark.parametrize(
    ("moment", "zone", "ends", "expected"),
    [
        # The hour that comes twice in autumn, and the one that is skipped in spring.
        ("2026-10-25 00:30Z", "Europe/Amsterdam", "04:00", "2026-10-24"),
        ("2026-10-25 01:30Z", "Europe/Amsterdam", "04:00", "2026-10-24"),
        ("2026-10-25 03:30Z", "Europe/Amsterdam", "04:00", "2026-10-25"),
        ("2026-03-29 00:59Z", "Europe/Amsterdam", "02:00", "2026-03-28"),
        ("2026-03-29 01:00Z", "Europe/Amsterdam", "02:00", "2026-03-29"),
        # The end of the year, and both sides of the date line.
        ("2027-01-01 03:59Z", "UTC", "04:00", "2026-12-31"),
        ("2027-01-01 04:00Z", "UTC", "04:00", "2027-01-01"),
        ("2026-12-31 10:30Z", "Pacific/Kiritimati", "00:00", "2027-01-01"),
        ("2027-01-01 10:30Z", "Pacific/Pago_Pago", "00:00", "2026-12-31"),
        # A leap day, and a zone whose clock changes by half an hour.
        ("2028-02-29 02:00Z", "America/Chicago", "00:00", "2028-02-28"),
        ("2028-03-01 05:59Z", "America/Chicago", "00:00", "2028-02-29"),
        ("2026-04-04 15:10Z", "Australia/Lord_Howe", "02:00", "2026-04-04"),
        ("2026-04-04 15:40Z", "Australia/Lord_Howe", "02:00", "2026-04-05"),
    ],
)
def test_the_clock_of_the_store_decides_the_business_date(hq, moment, zone, ends, expected):
    with connection.cursor() as cursor:
        cursor.execute("SELECT business_date_of(%s, %s, %s)::text", [moment, zone, ends])

        assert cursor.fetchone() == (expected,)


@pytest.mark.scenario(id="C7")
@pytest.mark.fault("F-55", "F-56")  # clocks change; a day ends late
def test_each_sale_is_in_one_statement_also_when_clocks_change(store):
    Channel.objects.update(time_zone="Europe/Amsterdam", day_ends_at="04:00")
    autumn, spring = last_sunday(10), last_sunday(3)
    # In autumn the day ends at 03:00 UTC, in spring at 02:00 UTC.
    for moment in (
        f"{autumn}T00:30:00+00:00",
        f"{autumn}T01:30:00+00:00",
        f"{autumn}T02:30:00+00:00",
        f"{autumn}T03:30:00+00:00",
        f"{spring}T00:30:00+00:00",
        f"{spring}T02:30:00+00:00",
    ):
        make_sale(store, business_date=None, occurred_at=moment)

    run(JobCode.END_OF_DAY)

    statements = Statement.objects.with_sales()
    assert {statement.state for statement in statements} == {StatementState.POSTED}
    assert sorted(statements.values_list("business_date", "sales")) == sorted(
        [
            (autumn - timedelta(days=1), 3),
            (autumn, 1),
            (spring - timedelta(days=1), 1),
            (spring, 1),
        ]
    )


def last_sunday(month):
    """The last Sunday of a month of 31 days, in the latest year in which it has passed."""
    today = timezone.now().date()
    for year in (today.year, today.year - 1):
        end = date(year, month, 31)
        sunday = end - timedelta(days=(end.weekday() + 1) % 7)
        if sunday < today:
            break
    return sunday


def test_a_store_without_trickle_feed_is_posted_after_its_day(houston):
    Channel.objects.update(statement_mode="end_of_day")
    today = timezone.now().date()
    make_sale(houston, business_date=today, transaction_id="today")
    make_sale(houston, business_date=today - timedelta(days=1), transaction_id="yesterday")

    run(JobCode.END_OF_DAY)

    posted = RetailTransaction.objects.exclude(sales_order=None)
    assert posted.get().transaction_id == "yesterday"
