"""When there is nothing new, running every job and command again changes no data.

From conftest.py: `houston` is a store on PostgreSQL; `popup` is one on SQLite.
"""

from uuid import uuid4

import pytest
from django.core.management import call_command

from stores.jobs.catalog import JOBS
from stores.models import ChannelDatabase
from stores.pipeline.events.kinds import CHILDREN
from tests.support.contents import Contents, channel_contents, differences, hq_contents
from tests.support.make import make_customer, make_event, make_sale, run

pytestmark = pytest.mark.slow

REPEATABLE_COMMANDS = [
    ("channels",),
    ("incidents", "list"),
    ("migrate_channels",),
    ("quarantine", "causes"),
    ("reconcile",),
    ("reconcile", "--fix"),
    ("recover_hq",),
    ("verify",),
]
# HQ records that a job ran, even if it found nothing to do. Promises count the rows they check,
# runs included. Sales that are not posted are validated again by each run.
RECORDS_OF_RUNS = {
    "job_run",
    "run_step",
    "channel_database.last_visited_at",
    "channel_database.last_duration_s",
    "promise.checked",
    "promise.checked_at",
    "promise.run_id",
    "retail_transaction.validated_at",
}


@pytest.fixture
def idle_channels(houston, popup) -> list[ChannelDatabase]:
    """Two channels with nothing new: events are applied, posted, waiting, failed or quarantined."""
    for store in (houston, popup):
        ann = make_customer(store)
        for kind in CHILDREN:
            make_event(kind.noun, store, async_account=ann)
        make_customer(store, email="nobody")
        make_event("address", store, async_account=uuid4())
        make_sale(store, "10.00", async_account=ann)
        make_sale(store, "8.00", net_amount="9.00")
        order = {"transaction_type": "customer_order", "confirmation_number": f"SO-{store.pk}"}
        make_sale(store, async_account=ann, **order)
    for job in ("1070", "1110", "eod", "sync-orders", "pipeline", "verify"):
        assert run(job)["outcome"] == "succeeded"
    return [houston, popup]


def read_data(databases: list[ChannelDatabase]) -> Contents:
    """All rows of HQ and of the channels, except the records of runs."""
    data = hq_contents(ignored=RECORDS_OF_RUNS)
    for database in databases:
        data |= channel_contents(database)
    return data


def run_every_job_and_command() -> dict[str, str]:
    """Run each job and each command once. Returns the outcome of each job."""
    outcomes = {job: run(job)["outcome"] for job in JOBS}
    for command in REPEATABLE_COMMANDS:
        call_command(*command)
    return outcomes


@pytest.mark.promise(id="I32")
def test_repeating_every_job_and_command_changes_no_data(idle_channels):
    before = read_data(idle_channels)

    first = run_every_job_and_command()
    after_first = read_data(idle_channels)
    second = run_every_job_and_command()
    after_second = read_data(idle_channels)

    assert set(first.values()) <= {"nothing_to_do", "succeeded"}, first
    assert set(second.values()) <= {"nothing_to_do", "succeeded"}, second
    assert before
    assert differences(before, after_first) == {}
    assert differences(before, after_second) == {}
