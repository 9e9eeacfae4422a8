"""A restored HQ issues no number twice, and recovers what it has lost from its channels.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `seattle` is
another store on PostgreSQL; `popup` is one on SQLite; `back_up` backs up a channel database;
`back_up_hq` backs up HQ; `recover_hq` calls the command and returns its document.
"""

from uuid import uuid4

import pytest

from stores.hqdb.locks import Locks
from stores.jobs import plan
from stores.jobs.catalog import JOBS
from stores.jobs.recover_hq import lock_names
from stores.models import (
    AsyncCustomer,
    Customer,
    DownloadException,
    GuidMap,
    Incident,
    JobRun,
    NumberSequence,
)
from stores.models.incident import IncidentKind
from stores.models.job import JobCode
from stores.models.package import ExceptionReason
from stores.pipeline import number_journal
from stores.pipeline.convert import convert
from tests.support.make import lookup, make_customer, make_event, out_of_reach, pending, query, run
from tests.support.promises import failed_checks
from tests.support.refused_customers import allow_customers, refuse_customer

pytestmark = pytest.mark.slow


def accounts_at_hq():
    """The account number of each GUID."""
    rows = GuidMap.objects.values_list("async_account", "customer__account_number")
    return {str(guid): account for guid, account in rows}


def accounts_in(database):
    """The account number of each GUID, as the channel knows it."""
    rows = query(database, "SELECT async_account, account_number FROM account_map")
    return {str(guid): account for guid, account in rows}


def open_incidents():
    return set(Incident.objects.open().values_list("kind", flat=True))


@pytest.fixture
def lost_accounts(houston, popup, back_up_hq) -> dict[str, str]:
    """HQ was restored to the time before it had Bo and Cy; Ann it still has, and Di is new.

    Returns the account numbers that it had issued, by GUID.
    """
    make_customer(houston, "Ann")
    run(JobCode.PIPELINE)
    backup = back_up_hq()
    bo = make_customer(houston, "Bo")
    make_event("address", houston, async_account=bo)
    make_customer(popup, "Cy")
    run(JobCode.PIPELINE)
    issued = accounts_at_hq()
    assert len(issued) == 3
    backup.restore()
    make_customer(popup, "Di")
    return issued


@pytest.mark.fault("F-33")  # HQ was restored from a backup
def test_a_restored_hq_stops_until_it_is_recovered(lost_accounts):
    stopped = run(JobCode.PIPELINE)

    assert stopped["outcome"] == "partly"
    assert "converted" not in stopped["counts"]
    assert open_incidents() == {IncidentKind.HQ_BEHIND, IncidentKind.HQ_MOVED}


@pytest.mark.fault("F-33")  # HQ was restored from a backup
def test_a_recovery_does_what_its_dry_run_says(lost_accounts, recover_hq):
    run(JobCode.PIPELINE)

    plan = recover_hq("--dry-run")
    recovery = recover_hq()

    assert (plan["outcome"], recovery["outcome"]) == ("planned", "recovered")
    for document in (plan, recovery):
        # Bo and Cy. Bo's address is fetched again as well.
        assert (document["accounts"], document["guids"], document["void"]) == (2, 2, 0)
        assert document["events"] == {"houston": 2, "popup": 1}


@pytest.mark.fault("F-33")  # HQ was restored from a backup
def test_every_customer_keeps_the_account_in_a_recovery(houston, popup, lost_accounts, recover_hq):
    run(JobCode.PIPELINE)
    recover_hq()

    assert run(JobCode.PIPELINE)["outcome"] == "succeeded"

    accounts = accounts_at_hq()
    assert accounts.items() >= lost_accounts.items()
    assert len(accounts) == 4
    assert accounts_in(houston) == accounts
    assert accounts_in(popup) == accounts
    bo = Customer.objects.get(first_name="Bo")
    assert bo.addresses.count() == 1
    assert open_incidents() == set()
    assert failed_checks() == {}


@pytest.fixture
def forgotten_refusal(store, seattle, back_up_hq) -> None:
    """HQ was restored to the time before the store refused Bad; Ann is everywhere."""
    make_customer(seattle, "Ann")
    run(JobCode.PIPELINE)
    make_customer(seattle, "Bad")
    run(JobCode.UPLOAD)
    run(JobCode.CONVERT)
    backup = back_up_hq()
    refuse_customer(store, "Bad")
    run(JobCode.DOWNLOAD)
    backup.restore()
    assert not DownloadException.objects.exists()


@pytest.mark.fault("F-33")  # HQ was restored from a backup
def test_a_refusal_after_the_backup_is_found_in_a_recovery(store, forgotten_refusal, recover_hq):
    plan = recover_hq("--dry-run")
    recovery = recover_hq()
    run(JobCode.PIPELINE)

    assert (plan["owed_again"], recovery["owed_again"]) == (1, 1)
    refused = DownloadException.objects.open().get()
    assert (refused.database, refused.reason) == (store, ExceptionReason.REFUSED)
    assert pending(store) == [refused.customer.account_number]


@pytest.mark.fault("F-33")  # HQ was restored from a backup
def test_customers_refused_after_the_backup_are_sent_once_accepted(
    store, seattle, forgotten_refusal, recover_hq
):
    recover_hq()
    run(JobCode.PIPELINE)
    allow_customers(store)

    run(JobCode.DOWNLOAD)

    assert {name for _, name in lookup(store)} == {"Ann", "Bad"}
    assert lookup(store) == lookup(seattle)
    assert failed_checks() == {}


@pytest.mark.fault("F-36")  # HQ lost its last seconds
def test_acknowledged_events_that_hq_has_lost_are_fetched_again(houston, back_up_hq, recover_hq):
    backup = back_up_hq()
    make_customer(houston, "Ann")
    run(JobCode.UPLOAD)
    backup.restore()

    recovery = recover_hq()

    assert recovery["events"] == {"houston": 1}
    assert AsyncCustomer.objects.get().first_name == "Ann"
    assert run(JobCode.PIPELINE)["counts"]["converted"] == 1
    assert failed_checks() == {}


@pytest.mark.fault("F-35")  # HQ and a channel were both restored
def test_hq_and_a_channel_restored_apart_agree_again(
    houston, popup, back_up_hq, back_up, recover_hq
):
    channel_backup = back_up(popup)
    make_customer(houston, "Ann")
    run(JobCode.PIPELINE)
    hq_backup = back_up_hq()
    make_customer(popup, "Bo")
    run(JobCode.PIPELINE)
    before = accounts_at_hq()
    channel_backup.restore()
    hq_backup.restore()
    assert "converted" not in run(JobCode.PIPELINE)["counts"]

    recovery = recover_hq()
    run(JobCode.PIPELINE)

    assert recovery["accounts"] == 1
    assert accounts_at_hq() == before
    assert accounts_in(houston) == before
    assert accounts_in(popup) == before
    assert open_incidents() == {IncidentKind.CHANNEL_RESTORED}


@pytest.mark.finding(id="V1")
@pytest.mark.parametrize("journal_survives", [True, False])
def test_a_recovered_guid_belongs_to_the_channel_that_created_it(
    houston, seattle, back_up_hq, recover_hq, journal_survives
):
    guid = make_customer(seattle, "Ann")
    make_event("address", seattle, async_account=guid)
    run(JobCode.UPLOAD)
    backup = back_up_hq()
    run(JobCode.CONVERT)
    run(JobCode.DOWNLOAD, channels=["houston"])
    make_event("customer", houston, operation="update", async_account=guid, first_name="Eve")
    run(JobCode.UPLOAD)
    backup.restore()
    if not journal_survives:
        number_journal.journal_path().unlink()

    recover_hq()
    run(JobCode.PIPELINE)

    assert GuidMap.objects.get(pk=guid).channel == seattle.channel
    assert not AsyncCustomer.objects.filter(status="failed").exists()
    for store in (houston, seattle):
        assert lookup(store) == [("005001", "Eve")]
    assert query(seattle, "SELECT count(*) FROM customer_address") == [(1,)]


def test_numbers_that_were_issued_to_unknown_customers_become_void(houston, back_up_hq, recover_hq):
    backup = back_up_hq()
    make_customer(houston, "Ann")
    run(JobCode.PIPELINE)
    backup.restore()
    number_journal.journal_path().unlink()
    query(houston, "DELETE FROM account_map")

    recovery = recover_hq()

    assert (recovery["accounts"], recovery["void"]) == (0, 1)
    assert Customer.objects.get(number=5001).state == "void"
    assert NumberSequence.objects.get().next == 5002


def test_nothing_is_recovered_from_channels_that_contradict_each_other(houston, popup, recover_hq):
    make_customer(houston, "Ann")
    run(JobCode.PIPELINE)
    query(popup, "UPDATE account_map SET account_number = '005002'")

    assert recover_hq(fails=True) == 1

    assert NumberSequence.objects.get().next == 5002
    assert Customer.objects.filter(number__isnull=False).count() == 1


def test_an_hq_that_has_lost_nothing_is_not_changed(houston, recover_hq):
    make_customer(houston, "Ann")
    run(JobCode.PIPELINE)

    recovery = recover_hq()

    assert recovery["outcome"] == "nothing_to_do"
    assert recovery["message"] == "Headquarters lacks nothing."
    assert run(JobCode.PIPELINE)["outcome"] == "nothing_to_do"


def test_an_unreachable_channel_prevents_the_recovery(houston, popup, recover_hq):
    with out_of_reach(popup):
        assert recover_hq(fails=True) == 1


@pytest.mark.finding(id="V16")
def test_a_recovery_takes_the_locks_of_every_step(houston, popup):
    run(JobCode.PIPELINE)
    locks_of_jobs = {
        step.lock_name
        for job in JOBS
        for step in plan.plan_steps(JobRun.objects.create(job=job, scope=job))
    }
    # The names begin with the step; these four are of no pipeline.
    steps = {name.split(":")[0] for name in locks_of_jobs}
    assert steps >= {"orders", "validate", "calculate", "post"}

    assert set(lock_names()) >= locks_of_jobs


def test_a_running_job_prevents_the_recovery(houston, recover_hq):
    with Locks() as locks:
        assert locks.acquire(lock_names()[0])
        assert recover_hq(fails=True) == 75
    assert not JobRun.objects.exists()


def test_an_account_is_whole_whose_event_a_later_edit_replaces(
    houston, seattle, back_up_hq, recover_hq, monkeypatch
):
    backup = back_up_hq()
    guid = uuid4()
    # Its create was rolled back at the till.
    make_event("customer", seattle, operation="update", async_account=guid)
    run(JobCode.PIPELINE)
    [account] = accounts_at_hq().values()
    make_event("customer", houston, operation="update", account_number=account, last_name="Li")
    run(JobCode.PIPELINE)
    backup.restore()
    recover_hq()
    # The later edit is in the earlier batch, and applied first.
    monkeypatch.setattr(convert, "EVENTS_PER_CHUNK", 1)

    assert run(JobCode.PIPELINE)["outcome"] == "succeeded"

    assert accounts_at_hq() == {str(guid): account}
    assert AsyncCustomer.objects.get(async_account=guid).status == "superseded"
    assert failed_checks() == {}
