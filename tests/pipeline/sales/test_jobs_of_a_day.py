"""Jobs that are limited to one business date.

From conftest.py: `houston` is a store on PostgreSQL; `store` is a store, once on PostgreSQL and
once on SQLite; `command` calls a management command and returns its output.
"""

from datetime import date

import pytest

from stores.jobs.catalog import JOBS
from stores.jobs.claim import claim_step
from stores.jobs.stages import waiting_steps
from stores.jobs.stalled import recover_lost_steps
from stores.jobs.start import create_run
from stores.models import RetailTransaction, Statement
from stores.models.job import JobCode
from tests.support.make import carry_out, make_sale, run

pytestmark = pytest.mark.slow

THURSDAY = date(2026, 11, 19)
FRIDAY = date(2026, 11, 20)


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
    job_run = create_run(JOBS[JobCode.END_OF_DAY], business_date=FRIDAY).run
    assert not create_run(JOBS[JobCode.END_OF_DAY], business_date=FRIDAY).is_new
    assert create_run(JOBS[JobCode.END_OF_DAY]).is_new
    claim_step(waiting_steps(job_run.pk)[0], "dead")

    recover_lost_steps()
    carry_out(job_run)

    assert (job_run.business_date, job_run.scope) == (FRIDAY, f"date:{FRIDAY}")
    assert Statement.objects.get().business_date == FRIDAY
