"""Registers that are sent no customers lack none: 1010 is excluded, or their group is filtered.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `popup` is one
on SQLite; `boss` is an administrator's client; `command` calls a management command and returns its
output.
"""

import json
from collections.abc import Iterator
from uuid import UUID

import pytest

from stores.models import (
    ChannelDatabase,
    ChannelDatabaseGroup,
    Customer,
    PackageTable,
    RunStep,
    SchedulerJob,
)
from stores.models.job import JobCode
from stores.models.package import ExceptionReason
from stores.pipeline.archive import what_waits
from stores.pipeline.download import packages
from stores.pipeline.download.exceptions import add_exceptions
from stores.pipeline.download.lacking import count_lacking
from stores.web.lists.channels import databases_with_counts
from tests.pipeline.download.test_packages import age_packages
from tests.support.make import lookup, make_customer, pending, query, run
from tests.support.promises import get_check
from tests.support.refused_customers import refuse_customer
from tests.support.registers import offline_register
from tests.support.traces import get_trace, knows_account


@pytest.fixture
def till_1(houston) -> Iterator[ChannelDatabase]:
    """An offline register of houston, in a group of its own."""
    with offline_register(houston, group="Registers") as database:
        yield database


def exclude(how: str) -> None:
    if how == "job":
        SchedulerJob.objects.create(job=JobCode.DOWNLOAD, exclude_from_offline=True)
    else:
        groups = ChannelDatabaseGroup.objects.filter(name="Registers")
        groups.update(filter_shared_customer_data=True)


def include() -> None:
    SchedulerJob.objects.all().delete()
    ChannelDatabaseGroup.objects.update(filter_shared_customer_data=False)


@pytest.fixture(params=["job", "filter"])
def ann(request, houston, till_1) -> UUID:
    """Ann, whom every database has but the register, which is sent no customers. Her GUID."""
    exclude(request.param)
    guid = make_customer(houston, "Ann")
    run(JobCode.PIPELINE)
    return guid


def test_an_excluded_register_is_sent_no_customers_and_uploads_its_own(till_1, ann):
    steps = RunStep.objects.filter(database=till_1).values_list("step", flat=True)

    assert list(steps) == ["upload"]
    assert lookup(till_1) == []


def test_a_customer_is_distributed_without_an_excluded_register(houston, till_1, ann, boss):
    trace = get_trace(ann)
    page = boss.get("/customers/005001/").content.decode()

    assert (trace.state, trace.waiting_for) == ("distributed", None)
    assert knows_account(trace) == {"houston": True}
    assert "Excluded" in page
    assert "Send again to houston" in page
    assert "Send again to houston/till-1" not in page


def test_nothing_counts_as_pending_for_an_excluded_register(till_1, ann, command, boss):
    rows = json.loads(command("channels", "--json"))["channels"]

    assert {row["database"]: row["counts"]["owed"] for row in rows} == {
        "houston": 0,
        "houston/till-1": 0,
    }
    assert databases_with_counts().get(pk=till_1.pk).pending == 0
    assert count_lacking() == dict.fromkeys(count_lacking(), 0)
    assert "005001" not in boss.get("/customers/?owed=any").content.decode()
    assert list(what_waits(till_1.channel)) == []
    check = get_check("I18")
    assert (check.ok, check.late) == (True, 0)


def test_a_package_is_not_kept_for_an_excluded_register(till_1, ann):
    age_packages("2 days")

    packages.drop_delivered()

    assert not PackageTable.objects.exists()


def test_a_register_that_is_included_again_receives_everything(houston, till_1, ann):
    include()
    assert pending(till_1) == ["005001"]
    assert count_lacking([till_1.pk]) == {till_1.pk: 1}
    assert get_trace(ann).state == "synchronized"

    run(JobCode.DOWNLOAD)

    assert lookup(till_1) == lookup(houston) == [("005001", "Ann")]


def test_registers_of_a_filtered_group_get_their_configuration(till_1):
    exclude("filter")

    run(JobCode.CHANNEL_CONFIGURATION)

    keys = query(
        till_1, "SELECT key FROM channel_setting WHERE key = 'filter_shared_customer_data'"
    )
    assert keys == [("filter_shared_customer_data",)]


def test_a_store_s_own_database_is_never_excluded(houston, popup):
    SchedulerJob.objects.create(job=JobCode.DOWNLOAD, exclude_from_offline=True)
    ChannelDatabaseGroup.objects.update(filter_shared_customer_data=True)
    make_customer(popup, "Ann")

    run(JobCode.PIPELINE)

    assert lookup(houston) == lookup(popup) == [("005001", "Ann")]


def test_who_asks_to_send_something_to_an_excluded_register_is_told(till_1, ann, command):
    said = command("downloads", "resend", "houston/till-1", "005001")

    assert said == (
        "houston/till-1 is excluded from 1010. Once it is included, a download sends 1 customer "
        "again.\n"
    )


def test_lists_and_commands_count_the_same_customers(houston, popup, till_1, command):
    """Popup has refused Bad and is to be sent Ann again, houston lacks Cy, and so does till-1."""
    refuse_customer(popup, "Bad")
    for name in ("Ann", "Bad"):
        make_customer(houston, name)
    run(JobCode.PIPELINE)
    ann = Customer.objects.get(first_name="Ann")
    add_exceptions(popup, [ann.pk], ExceptionReason.REQUESTED)
    make_customer(popup, "Cy")
    run(JobCode.PIPELINE, channels=["popup"])

    def counts() -> list[dict[str, int]]:
        databases = ChannelDatabase.objects.with_channel()
        rows = json.loads(command("channels", "--json"))["channels"]
        lacking = count_lacking(most=5)
        by_customer = [
            (customer, database)
            for customer in Customer.objects.all()
            for database in customer.databases_lacking()
        ]
        return [
            {row["database"]: row["counts"]["owed"] for row in rows},
            {row.label: row.pending for row in databases_with_counts()},
            {database.label: lacking[database.pk] for database in databases},
            {row.label: sum(database == row for _, database in by_customer) for row in databases},
        ]

    assert counts() == [{"houston": 1, "houston/till-1": 1, "popup": 1}] * 4

    exclude("job")

    assert counts() == [{"houston": 1, "houston/till-1": 0, "popup": 1}] * 4
