"""Business dates: which day a sale belongs to, and jobs that are limited to one day.

From conftest.py: `houston` is a store on PostgreSQL; `store` is a store, once on PostgreSQL and
once on SQLite; `command` calls a management command and returns its output.
"""

from datetime import date, timedelta

import pytest
from django.db import connection
from django.utils import timezone

from stores.jobs.catalog import JOBS
from stores.jobs.claim import claim_step
from stores.jobs.stages import waiting_steps
from stores.jobs.stalled import recover_lost_steps
from stores.jobs.start import create_run
from stores.models import Channel, RetailTransaction, Statement
from stores.models.job import JobCode
from stores.models.statement import StatementState
from tests.support.make import carry_out, make_sale, run

pytestmark = pytest.mark.slow

THURSDAY = date(2026, 11, 19)
FRIDAY = date(2026, 11, 20)


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


@pytest.mark.fault("F-55", "F-56")  # clocks change; a day ends late
def test_each_sale_is_in_one_statement_also_when_clocks_change_c7(store):
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


def test_end_of_day_can_be_limited_to_a_business_date(store, command):
    make_sale(store, "10.00", business_date=THURSDAY, transaction_id="T-1")
    make_sale(store, "20.00", business_date=FRIDAY, transaction_id="T-2")
    # Its net amount is not that of its lines, so validation fails.
    make_sale(store, "30.00", business_date=FRIDAY, transaction_id="T-3", net_amount="31.00")

    dry_run = command("run_job", "eod", "--date", str(FRIDAY), "--dry-run")
    assert not Statement.objects.exists()
    output = command("run_job", "eod", "--date", str(FRIDAY))

    assert dry_run.splitlines()[-1] == output.splitlines()[-1]
    # The upload takes the sales of all days; the other steps only those of Friday.
    assert "3 staged, 1 failed, 3 updated, 1 posted" in output
    assert Statement.objects.get().business_date == FRIDAY
    sales = RetailTransaction.objects.values_list("transaction_id", "validation_status")
    assert dict(sales) == {"T-1": "none", "T-2": "successful", "T-3": "error"}
    assert run(JobCode.END_OF_DAY, business_date=THURSDAY)["counts"]["posted"] == 1


@pytest.mark.parametrize(
    ("earlier_jobs", "job"),
    [
        ([JobCode.UPLOAD], JobCode.VALIDATE),
        ([JobCode.UPLOAD, JobCode.VALIDATE], JobCode.CALCULATE),
        ([JobCode.UPLOAD, JobCode.VALIDATE, JobCode.CALCULATE], JobCode.POST),
    ],
    ids=["validate", "calculate", "post"],
)
def test_a_job_for_a_business_date_leaves_other_days_alone(store, earlier_jobs, job):
    make_sale(store, business_date=THURSDAY)
    make_sale(store, business_date=FRIDAY)
    for earlier_job in earlier_jobs:
        run(earlier_job)

    run(job, business_date=FRIDAY)

    assert run(job, business_date=THURSDAY)["outcome"] == "succeeded"
    assert run(job)["outcome"] == "nothing_to_do"


def test_a_run_that_lost_its_worker_keeps_its_business_date(houston):
    make_sale(houston, business_date=THURSDAY)
    make_sale(houston, business_date=FRIDAY)
    job_run = create_run(JOBS["eod"], business_date=FRIDAY).run
    assert not create_run(JOBS["eod"], business_date=FRIDAY).is_new
    assert create_run(JOBS["eod"]).is_new
    claim_step(waiting_steps(job_run.pk)[0], "dead")

    recover_lost_steps()
    carry_out(job_run)

    assert (job_run.business_date, job_run.scope) == (FRIDAY, f"date:{FRIDAY}")
    assert Statement.objects.get().business_date == FRIDAY


def test_a_store_without_trickle_feed_is_posted_once_its_day_has_ended(houston):
    Channel.objects.update(statement_mode="end_of_day")
    today = timezone.now().date()
    make_sale(houston, business_date=today, transaction_id="today")
    make_sale(houston, business_date=today - timedelta(days=1), transaction_id="yesterday")

    run(JobCode.END_OF_DAY)

    posted = RetailTransaction.objects.exclude(sales_order=None)
    assert posted.get().transaction_id == "yesterday"
