"""A headquarters set back in time issues nothing twice, and learns again what it forgot."""

import pytest

from stores.hqdb.locks import Locks
from stores.jobs import plan
from stores.jobs.catalog import JOBS
from stores.jobs.recover_hq import lock_names
from stores.models import AsyncCustomer, Customer, GuidMap, Incident, JobRun, NumberSequence
from stores.models.incident import IncidentKind
from stores.pipeline import number_journal
from stores.pipeline.integrity.verify import verify
from tests.support.make import lookup, make_customer, make_event, query, run

pytestmark = pytest.mark.slow


def accounts():
    """GUID -> account, as HQ knows it."""
    return {str(one.pk): str(one.customer) for one in GuidMap.objects.select_related("customer")}


def account_map(database):
    found = query(database, "SELECT async_account, account_number FROM account_map")
    return {str(guid): account for guid, account in found}


def open_kinds():
    return set(Incident.objects.open().values_list("kind", flat=True))


def broken():
    return [(check.id, check.offending) for check in verify() if not check.ok]


@pytest.mark.fault("F-33")
def test_a_restored_hq_stops_and_after_its_recovery_everybody_has_the_same_account(
    houston, popup, hq_backed_up, recover_hq
):
    make_customer(houston, "Ann")
    run("pipeline")
    backup = hq_backed_up()
    bo = make_customer(houston, "Bo")
    make_event("address", houston, async_account=bo)
    make_customer(popup, "Cy")
    run("pipeline")
    before = accounts()
    backup.restore()
    make_customer(popup, "Di")

    stopped = run("pipeline")
    told = open_kinds()
    planned = recover_hq("--dry-run")
    found = recover_hq()
    after = run("pipeline")

    assert stopped["outcome"] == "partly"
    assert "converted" not in stopped["counts"]
    assert told == {IncidentKind.HQ_BEHIND, IncidentKind.HQ_MOVED}
    assert planned["outcome"] == "planned"
    assert found["outcome"] == "recovered"
    assert (found["accounts"], found["guids"], found["void"]) == (2, 2, 0)
    assert planned["events"] == found["events"] == {"houston": 2, "popup": 1}
    assert after["outcome"] == "succeeded"
    assert accounts().items() >= before.items()
    assert len(accounts()) == 4
    assert account_map(houston) == account_map(popup) == accounts()
    assert Customer.objects.get(account_number=before[str(bo)]).first_name == "Bo"
    assert Customer.objects.get(account_number=before[str(bo)]).addresses.count() == 1
    assert open_kinds() == set()
    assert broken() == []


@pytest.mark.fault("F-36")
def test_events_acknowledged_beyond_what_hq_kept_are_fetched_again(
    houston, hq_backed_up, recover_hq
):
    backup = hq_backed_up()
    make_customer(houston, "Ann")
    run("P-0001")
    backup.restore()

    found = recover_hq()

    assert found["events"] == {"houston": 1}
    assert AsyncCustomer.objects.get().first_name == "Ann"
    assert run("pipeline")["counts"]["converted"] == 1
    assert broken() == []


@pytest.mark.fault("F-35")
def test_both_sides_restored_to_different_times_come_to_rest(
    houston, popup, hq_backed_up, backed_up, recover_hq
):
    channel_backup = backed_up(popup)
    make_customer(houston, "Ann")
    run("pipeline")
    hq_backup = hq_backed_up()
    make_customer(popup, "Bo")
    run("pipeline")
    before = accounts()
    channel_backup.restore()
    hq_backup.restore()

    assert "converted" not in run("pipeline")["counts"]
    found = recover_hq()
    run("pipeline")

    assert found["accounts"] == 1
    assert accounts() == before
    assert account_map(houston) == account_map(popup) == before
    assert open_kinds() == {IncidentKind.CHANNEL_RESTORED}


@pytest.mark.parametrize("journal_survives", [True, False])
def test_v1_a_guid_stays_that_of_the_channel_that_made_it(
    houston, seattle, hq_backed_up, recover_hq, journal_survives
):
    guid = make_customer(seattle, "Ann")
    make_event("address", seattle, async_account=guid)
    run("P-0001")
    backup = hq_backed_up()
    run("sync-customers")
    run("1010", channels=["houston"])
    make_event("customer", houston, operation="update", async_account=guid, first_name="Eve")
    run("P-0001")
    backup.restore()
    if not journal_survives:
        number_journal.place().unlink()

    recover_hq()
    run("pipeline")

    assert GuidMap.objects.get(pk=guid).channel == seattle.channel
    assert not AsyncCustomer.objects.filter(status="failed").exists()
    assert lookup(houston) == lookup(seattle) == [("005001", "Eve")]
    assert query(seattle, "SELECT count(*) FROM customer_address") == [(1,)]


def test_numbers_of_which_only_the_height_is_known_become_void(houston, hq_backed_up, recover_hq):
    backup = hq_backed_up()
    make_customer(houston, "Ann")
    run("pipeline")
    backup.restore()
    number_journal.place().unlink()
    query(houston, "DELETE FROM account_map")

    found = recover_hq()

    assert (found["accounts"], found["void"]) == (0, 1)
    assert Customer.objects.get(number=5001).state == "void"
    assert NumberSequence.objects.get().next == 5002


def test_sources_that_contradict_each_other_are_listed_and_nothing_is_changed(
    houston, popup, recover_hq
):
    make_customer(houston, "Ann")
    run("pipeline")
    query(popup, "UPDATE account_map SET account_number = '005002'")

    assert recover_hq(fails=True) == 1

    assert NumberSequence.objects.get().next == 5002
    assert Customer.objects.filter(number__isnull=False).count() == 1


def test_a_recovery_with_nothing_to_recover_says_so_and_changes_nothing(houston, recover_hq):
    make_customer(houston, "Ann")
    run("pipeline")

    found = recover_hq()

    assert (found["outcome"], found["message"]) == ("nothing_to_do", "Headquarters lacks nothing.")
    assert run("pipeline")["outcome"] == "nothing_to_do"


def test_a_channel_that_is_away_stops_the_recovery(houston, popup, recover_hq):
    from stores.channeldb.connect.url import sqlite_path

    sqlite_path(popup).rename(sqlite_path(popup).with_suffix(".away"))
    try:
        assert recover_hq(fails=True) == 1
    finally:
        sqlite_path(popup).with_suffix(".away").rename(sqlite_path(popup))


def test_v16_a_recovery_keeps_every_step_of_every_job_away(houston, popup):
    run("pipeline")
    of_jobs = {
        step.lock_name
        for job in JOBS
        for step in plan.plan(JobRun.objects.create(job=job, scope=job))
    }

    assert set(lock_names()) >= of_jobs
    assert {name.split(":")[0] for name in of_jobs} >= {"orders", "validate", "calculate", "post"}


def test_while_a_job_runs_there_is_no_recovery(houston, recover_hq):
    with Locks() as locks:
        assert locks.acquire(lock_names()[0])
        assert recover_hq(fails=True) == 75
    assert not JobRun.objects.exists()
