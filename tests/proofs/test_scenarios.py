"""What becomes of customers on the usual ways from a till to HQ and back to every channel.

From conftest.py: `houston` is a store on PostgreSQL (its first account is 005001); `seattle` is
another store on PostgreSQL; `store` is a store, once on PostgreSQL and once on SQLite; `register`
registers a channel by its code.
"""

import json
from contextlib import closing
from datetime import timedelta
from uuid import UUID, uuid4

import psycopg2
import pytest
from django.utils import timezone

from stores.channeldb.connect.url import till_url
from stores.hqdb.locks import Locks
from stores.models import (
    AsyncAddress,
    AsyncCustomer,
    ChannelDatabase,
    Customer,
    CustomerAddress,
    CustomerAffiliation,
    DownloadSession,
    GuidMap,
    NumberSequence,
    Quarantine,
)
from stores.models.job import JobCode
from stores.pipeline.convert.accounts import import_account
from stores.pipeline.download import sessions
from tests.support.after_a_fault import waiting
from tests.support.channels import on_server
from tests.support.make import (
    NO_SERVER,
    lookup,
    make_customer,
    make_event,
    make_schedule,
    out_of_reach,
    query,
    run,
    write,
)
from tests.support.refused_customers import allow_customers, refuse_customer
from tests.support.traces import get_trace, knows_account

pytestmark = pytest.mark.slow


def issued_accounts() -> list[str]:
    """The account numbers that the sequence has issued, in order."""
    issued = Customer.objects.filter(number__isnull=False).order_by("number")
    return list(issued.values_list("account_number", flat=True))


def get_customer(account_number: str = "005001") -> Customer:
    """The customer with the first account number, or another one."""
    return Customer.objects.get(account_number=account_number)


def read_hq() -> dict[str, list[tuple]]:
    """The data at HQ that a run with nothing to do must not change."""
    customers = Customer.objects.order_by("pk")
    databases = ChannelDatabase.objects.order_by("pk")
    return {
        "customers": list(customers.values_list("pk", "account_number", "hq_version")),
        "guids": list(GuidMap.objects.order_by("pk").values_list("pk", "customer_id")),
        "events": list(AsyncCustomer.objects.order_by("pk").values_list("pk", "status")),
        "positions": list(databases.values_list("pk", "position")),
        "downloads": list(DownloadSession.objects.order_by("pk").values_list("pk", "status")),
        "sequences": list(NumberSequence.objects.values_list("pk", "next")),
    }


@pytest.fixture
def ann(store, seattle) -> UUID:
    """Ann, with an address, a contact, an attribute, and fields of the default customer."""
    default = store.channel.default_customer
    CustomerAffiliation.objects.create(customer=default, affiliation="STAFF-NO")
    Customer.objects.filter(pk=default.pk).update(
        customer_group="30", currency="USD", language="en-us"
    )
    guid = make_customer(store, "Ann")
    make_event("address", store, async_account=guid, is_primary=True)
    make_event("contact", store, async_account=guid)
    make_event("attribute", store, async_account=guid)
    return guid


@pytest.mark.scenario(id="T1")
def test_before_any_run_the_till_finds_a_pending_customer(store, ann):
    assert lookup(store) == [("Pending sync", "Ann")]
    assert not AsyncCustomer.objects.exists()


@pytest.mark.scenario(id="T1")
def test_an_upload_stages_and_acknowledges_the_event(store, ann):
    run(JobCode.UPLOAD)

    assert AsyncCustomer.objects.get().status == "pending"
    assert waiting(store) == 0


@pytest.mark.scenario(id="T1")
def test_a_conversion_creates_the_customer_with_its_account(store, ann):
    run(JobCode.UPLOAD)
    run("sync-customers")

    customer = get_customer("005001")
    assert customer.first_name == "Ann"
    assert customer.addresses.get().city == "Houston"
    assert customer.contacts.get().locator == "second@example.com"
    assert customer.attributes.get().value == "M"
    # These come from the channel's default customer.
    assert (customer.customer_group, customer.currency, customer.language) == ("30", "USD", "en-us")
    assert customer.affiliations.get().affiliation == "STAFF-NO"
    assert GuidMap.objects.get(pk=ann).customer == customer
    assert AsyncCustomer.objects.get().status == "applied"


@pytest.mark.scenario(id="T1")
def test_a_download_delivers_the_account_to_every_channel(store, seattle, ann):
    for job in (JobCode.UPLOAD, JobCode.CONVERT, JobCode.DOWNLOAD):
        run(job)

    assert lookup(store) == [("005001", "Ann")]
    assert lookup(seattle) == [("005001", "Ann")]


@pytest.mark.scenario(id="T2")
def test_jobs_run_too_early_change_nothing(store, ann):
    too_early = [run(job)["outcome"] for job in (JobCode.CONVERT, JobCode.DOWNLOAD)]
    in_order = [run(job)["outcome"] for job in (JobCode.UPLOAD, JobCode.CONVERT, JobCode.DOWNLOAD)]

    assert too_early == ["nothing_to_do"] * 2
    assert in_order == ["succeeded"] * 3
    assert lookup(store) == [("005001", "Ann")]


@pytest.mark.scenario(id="T3")
def test_jobs_run_again_create_nothing_and_issue_no_number(store, ann):
    run("pipeline")
    before = read_hq()

    jobs = (JobCode.UPLOAD, JobCode.CONVERT, JobCode.DOWNLOAD, JobCode.PIPELINE)
    outcomes = [run(job)["outcome"] for job in (*jobs, *jobs)]

    assert outcomes == ["nothing_to_do"] * 8
    assert read_hq() == before
    assert DownloadSession.objects.filter(database=store).count() == 1


@pytest.mark.scenario(id="T4")
def test_a_guid_sent_twice_becomes_one_customer(store):
    event = {"event_id": uuid4(), "occurred_at": timezone.now(), "operation": "create"}
    event |= {"async_account": uuid4(), "first_name": "Ann", "last_name": "Lee"}
    write(store, "async_customer", event)
    run(JobCode.UPLOAD)
    # The till sends the same customer again, as a new event.
    write(store, "async_customer", event | {"event_id": uuid4()})

    run("pipeline")

    assert issued_accounts() == ["005001"]


@pytest.mark.scenario(id="T4")
def test_of_two_events_that_create_a_customer_the_later_wins(store):
    guid = make_customer(store, "Ann")
    make_customer(store, "Anna", guid=guid)

    run("pipeline")

    assert get_customer().first_name == "Anna"
    assert AsyncCustomer.objects.filter(async_account=guid).count() == 2


@pytest.mark.scenario(id="T4")
def test_an_event_whose_acknowledgement_was_lost_is_not_staged_twice(houston):
    make_customer(houston, "Ann")
    run(JobCode.UPLOAD)
    query(houston, "UPDATE async_customer SET acknowledged_at = NULL")

    result = run(JobCode.UPLOAD)

    assert result["counts"] == {"read": 1, "unchanged": 1}
    assert AsyncCustomer.objects.count() == 1


@pytest.mark.scenario(id="T5")
def test_an_address_waits_for_its_customer(store):
    guid = uuid4()
    make_event("address", store, async_account=guid, is_primary=True)

    run("pipeline")

    event = AsyncAddress.objects.get()
    assert (event.status, event.reason) == ("pending", "parent_missing")

    make_customer(store, "Ann", guid=guid)
    run("pipeline")

    address = CustomerAddress.objects.get()
    assert address.is_primary
    assert address.customer.account_number == "005001"


@pytest.mark.scenario(id="T6")
def test_an_address_of_a_known_customer_creates_no_customer(store):
    import_account(store.channel.company, "004009", first_name="Bo", last_name="Berg")
    make_event("address", store, account_number="004009")

    run("pipeline")
    run("pipeline")

    assert issued_accounts() == []
    assert CustomerAddress.objects.get().customer.account_number == "004009"
    assert query(store, "SELECT account_number, city FROM customer_address") == [
        ("004009", "Houston")
    ]


@pytest.mark.scenario(id="T14")
def test_edits_before_the_conversion_are_applied_in_order(store):
    guid = make_customer(store, "Ann", phone="111")
    edit = {"operation": "update", "async_account": guid, "first_name": "Ann"}
    make_event("customer", store, **edit, phone="222")
    make_event("customer", store, **edit, phone="333")

    run("pipeline")

    assert get_customer().phone == "333"
    assert AsyncCustomer.objects.filter(async_account=guid, status="applied").count() == 3


@pytest.mark.scenario(id="T15")
def test_an_edit_by_guid_changes_the_account(store):
    guid = make_customer(store, "Ann", email="ann@example.com")
    run(JobCode.UPLOAD)
    run("sync-customers")
    edit = {"operation": "update", "async_account": guid, "first_name": "Ann"}
    make_event("customer", store, **edit, email="lee@example.com")

    result = run("pipeline")

    assert issued_accounts() == ["005001"]
    assert get_customer().email == "lee@example.com"
    assert result["counts"]["updated"] == 1
    assert query(store, "SELECT email FROM customer") == [("lee@example.com",)]


@pytest.mark.scenario(id="T16")
def test_an_address_removed_before_the_upload_is_not_active(store):
    address = {"async_account": make_customer(store, "Ann"), "address_id": uuid4()}
    make_event("address", store, **address)
    make_event("address", store, operation="deactivate", **address)

    run("pipeline")

    assert not CustomerAddress.objects.filter(is_active=True).exists()
    assert AsyncAddress.objects.filter(status="applied").count() == 2


@pytest.mark.scenario(id="T16")
def test_an_address_removed_after_conversion_is_inactive_everywhere(store, seattle):
    address = {"async_account": make_customer(store, "Ann"), "address_id": uuid4()}
    make_event("address", store, **address)
    run("pipeline")
    make_event("address", store, operation="deactivate", **address)

    run("pipeline")

    removed = CustomerAddress.objects.get()
    assert (removed.is_active, removed.city) == (False, "Houston")
    assert query(seattle, "SELECT is_active FROM customer_address") == [(False,)]


def test_no_till_finds_a_deactivated_customer(store, seattle):
    guid = make_customer(store, "Ann")
    run("pipeline")
    make_event("customer", store, operation="deactivate", async_account=guid, last_name=None)

    run("pipeline")

    assert get_customer().last_name == "Lee"
    assert lookup(store) == lookup(seattle) == []


@pytest.mark.scenario(id="T20")
def test_a_second_upload_of_the_same_database_is_busy(houston, seattle):
    make_customer(houston, "Ann")
    with Locks() as other_upload:
        assert other_upload.acquire(f"upload:{houston.pk}")
        houston_only = run(JobCode.UPLOAD, channels=["houston"])
        both_channels = run(JobCode.UPLOAD)
    afterwards = run(JobCode.UPLOAD)

    assert houston_only["outcome"] == "busy"
    assert both_channels["outcome"] == "partly"
    assert afterwards["counts"] == {"read": 1, "staged": 1}


@pytest.mark.scenario(id="T21")
def test_an_event_committed_after_a_later_one_is_kept(houston):
    with closing(psycopg2.connect(till_url(houston))) as slow_till:
        # The event has a lower counter than Bo's and commits after the upload.
        slow_till.cursor().execute(
            """INSERT INTO async_customer (event_id, occurred_at, operation, async_account,
                                           last_name)
               VALUES (gen_random_uuid(), now(), 'create', gen_random_uuid(), 'X')"""
        )
        make_customer(houston, "Bo")
        first = run(JobCode.UPLOAD)
        slow_till.commit()

    second = run(JobCode.UPLOAD)

    assert (first["counts"]["staged"], second["counts"]["staged"]) == (1, 1)


@pytest.mark.scenario(id="T25")
def test_customers_beyond_the_last_number_wait_for_more_numbers(store):
    NumberSequence.objects.update(largest=5002)
    for name in ("Ann", "Bo", "Cy", "Di", "Ed"):
        make_customer(store, name)

    first = run("pipeline")

    failed = AsyncCustomer.objects.filter(status="failed", reason="sequence_exhausted")
    assert (first["counts"]["converted"], first["counts"]["failed"]) == (2, 3)
    assert failed.count() == 3

    NumberSequence.objects.update(largest=5999)
    second = run("pipeline")

    assert second["counts"]["converted"] == 3
    assert issued_accounts() == ["005001", "005002", "005003", "005004", "005005"]


def test_a_channel_added_later_gets_all_customers(store, register):
    make_customer(store, "Ann")
    run("pipeline")
    web = register("web")

    result = run(JobCode.DOWNLOAD, channels=["web"])

    assert result["counts"] == {"distributed": 1}
    assert lookup(web) == [("005001", "Ann")]


def test_a_channel_gets_the_customers_missed_while_down(store, seattle):
    make_customer(store, "Ann")
    on_server("ALTER DATABASE ch_seattle RENAME TO ch_seattle_away")

    result = run("pipeline")

    assert result["outcome"] == "partly"
    assert "seattle cannot be reached" in result["message"]
    assert lookup(store) == [("005001", "Ann")]

    on_server("ALTER DATABASE ch_seattle_away RENAME TO ch_seattle")
    run("pipeline")

    assert lookup(seattle) == [("005001", "Ann")]


def test_an_event_from_the_future_yields_to_later_edits(store):
    next_year = timezone.now() + timedelta(days=365)
    guid = make_customer(store, "Ann", occurred_at=next_year)
    make_event("customer", store, operation="update", async_account=guid, first_name="Anna")

    run("pipeline")

    assert get_customer().first_name == "Anna"


def test_a_corrected_event_replaces_the_quarantined_one(store):
    guid = make_customer(store, "A" * 90)
    run("pipeline")
    assert Quarantine.objects.get().status == "open"

    make_customer(store, "Ann", guid=guid)
    run("pipeline")

    assert Quarantine.objects.get().status == "superseded"
    assert lookup(store) == [("005001", "Ann")]


def test_a_corrected_address_replaces_the_quarantined_one_and_no_other(store):
    guid, address_id = make_customer(store, "Ann"), uuid4()
    make_event("address", store, async_account=guid, address_id=address_id, county="X" * 40)
    make_event("address", store, async_account=guid, county="Y" * 40)
    run("pipeline")

    make_event("address", store, async_account=guid, address_id=address_id, county="X")
    run("pipeline")

    assert sorted(Quarantine.objects.values_list("status", flat=True)) == ["open", "superseded"]


def sessions_of(database: ChannelDatabase) -> list[DownloadSession]:
    """The download sessions of a database in the order of their packages."""
    return list(DownloadSession.objects.filter(database=database).order_by("package__from_no"))


@pytest.mark.scenario(id="T12")
def test_a_channel_that_was_offline_is_sent_all_in_order_and_is_late_meanwhile(
    houston, seattle, command
):
    make_schedule("pipeline", every_minutes=10)
    run("pipeline")
    with out_of_reach(seattle, at=NO_SERVER):
        ann = make_customer(houston, "Ann")
        run("pipeline")
        for name in ("Bo", "Cy", "Di"):
            make_customer(houston, name)
            run("pipeline")
        waiting = [session.status for session in sessions_of(seattle)]
        knows_ann = knows_account(get_trace(ann))
        missing = next(row.missing for row in get_trace(ann).channels if row.channel == "seattle")
        ChannelDatabase.objects.filter(pk=seattle.pk).update(
            last_visited_at=timezone.now() - timedelta(minutes=26)
        )
        served = {
            row["database"]: row["timeliness"]
            for row in json.loads(command("channels", "--json"))["channels"]
        }

    assert [session.status for session in sessions_of(houston)] == ["applied"] * 4
    assert waiting == ["download_failed"]
    assert knows_ann == {"houston": True, "seattle": False}
    assert missing.code == "away"
    assert served["houston"]["status"] == "on_time"
    assert served["seattle"]["status"] == "late"
    assert served["seattle"]["cause"] == "connection_refused"
    run("pipeline")
    arrived = sessions_of(seattle)
    assert {session.status for session in arrived} == {"applied"}
    applied_at = [session.applied_at for session in arrived]
    assert applied_at == sorted(applied_at)
    assert lookup(seattle) == lookup(houston)
    assert knows_account(get_trace(ann)) == {"houston": True, "seattle": True}
    [row] = [
        row
        for row in json.loads(command("channels", "--json"))["channels"]
        if row["database"] == "seattle"
    ]
    assert row["timeliness"]["status"] == "on_time"


@pytest.mark.scenario(id="T13")
@pytest.mark.parametrize("decide", [sessions.rerun, sessions.cancel], ids=["retry", "cancel"])
def test_in_strict_order_a_refused_package_holds_up_later_ones_until_a_person_decides(
    houston, seattle, decide
):
    ChannelDatabase.objects.filter(pk=seattle.pk).update(strict_order=True)
    refuse_customer(seattle, "Bad")
    make_customer(houston, "Bad")
    run("pipeline")
    for _ in range(2):
        run(JobCode.DOWNLOAD)
    for name in ("Bo", "Cy"):
        make_customer(houston, name)
        run("pipeline")

    [refused] = sessions_of(seattle)
    assert (refused.status, refused.tries) == ("suspended", 3)
    assert lookup(seattle) == []
    assert [name for _, name in lookup(houston)] == ["Bad", "Bo", "Cy"]
    if decide == sessions.rerun:
        allow_customers(seattle)
    decide(refused)
    run(JobCode.DOWNLOAD)

    expected = ["Bad", "Bo", "Cy"] if decide == sessions.rerun else ["Bo", "Cy"]
    assert [name for _, name in lookup(seattle)] == expected
    if decide == sessions.rerun:
        assert {session.status for session in sessions_of(seattle)} == {"applied"}
