"""The scenarios T1 to T6, T14 to T16, T20, T21 and T25 of the ring, by name."""

import threading
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.db import connections, transaction
from django.utils import timezone

from stores.channeldb.connect.connection import connect
from stores.hqdb.locks import Locks
from stores.models import (
    AsyncAddress,
    AsyncCustomer,
    Customer,
    CustomerAddress,
    CustomerAffiliation,
    Delivery,
    DownloadSession,
    GuidMap,
    NumberSequence,
    Quarantine,
)
from stores.pipeline.convert.accounts import import_account
from tests.support.make import lookup, make_customer, make_event, query, run, write

pytestmark = pytest.mark.slow


def accounts() -> list[str]:
    """Account numbers that the sequence issued, in order."""
    issued = Customer.objects.filter(number__isnull=False).order_by("number")
    return list(issued.values_list("account_number", flat=True))


def waiting_in(database, table: str = "async_customer") -> int:
    """How many of the channel's events HQ has not acknowledged."""
    statement = f"SELECT count(*) FROM {table} WHERE acknowledged_at IS NULL"  # noqa: S608
    [(count,)] = query(database, statement)
    return count


def rows_of_hq() -> list[tuple]:
    """What must not change when nothing is to be done."""
    return [
        list(Customer.objects.order_by("pk").values_list("pk", "account_number", "hq_version")),
        list(GuidMap.objects.order_by("pk").values_list("pk", "customer_id")),
        list(AsyncCustomer.objects.order_by("pk").values_list("pk", "status")),
        list(Delivery.objects.order_by("pk").values_list("pk", "delivered_version")),
        list(NumberSequence.objects.values_list("next", flat=True)),
    ]


@pytest.fixture
def ann(store, seattle) -> UUID:
    """Ann Lee with one address, a second mail, attribute SIZE and an inherited affiliation."""
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


def test_t1_happy_path(store, seattle, ann):
    assert lookup(store) == [("Pending sync", "Ann")]
    assert not AsyncCustomer.objects.exists()

    run("P-0001")
    assert waiting_in(store) == 0
    assert AsyncCustomer.objects.get().status == "pending"

    run("sync-customers")
    customer = Customer.objects.get(account_number="005001")
    assert (customer.first_name, customer.customer_group, customer.currency, customer.language) == (
        "Ann",
        "30",
        "USD",
        "en-us",
    )
    assert customer.addresses.get().city == "Houston"
    assert customer.contacts.get().locator == "second@example.com"
    assert customer.attributes.get().value == "M"
    assert customer.affiliations.get().affiliation == "STAFF-NO"
    assert GuidMap.objects.get(pk=ann).customer == customer
    assert AsyncCustomer.objects.get().status == "applied"

    run("1010")
    assert lookup(store) == [("005001", "Ann")]
    assert lookup(seattle) == [("005001", "Ann")]


def test_t2_wrong_order_changes_nothing_and_ends_without_error(store, ann):
    for job in ("sync-customers", "1010"):
        assert run(job)["outcome"] == "nothing_to_do"

    for job in ("P-0001", "sync-customers", "1010"):
        assert run(job)["outcome"] == "succeeded"

    assert lookup(store) == [("005001", "Ann")]


def test_t3_a_rerun_creates_nothing_and_draws_no_number(store, ann):
    run("pipeline")
    before = rows_of_hq()

    for _ in range(2):
        for job in ("P-0001", "sync-customers", "1010", "pipeline"):
            assert run(job)["outcome"] == "nothing_to_do"

    assert rows_of_hq() == before
    assert DownloadSession.objects.filter(database=store).count() == 1


def test_t4_the_same_guid_sent_twice_becomes_one_customer(store):
    event = {"event_id": uuid4(), "occurred_at": timezone.now(), "operation": "create"}
    event |= {"async_account": uuid4(), "first_name": "Ann", "last_name": "Lee"}
    write(store, "async_customer", event)
    run("P-0001")
    # The till's retry under a new event id, as after a lost acknowledgement.
    write(store, "async_customer", event | {"event_id": uuid4()})

    run("pipeline")

    assert accounts() == ["005001"]


def test_t4_a_second_copy_with_other_content_wins_as_the_later_one(store):
    guid = make_customer(store, "Ann")
    make_customer(store, "Anna", guid=guid)

    run("pipeline")

    assert Customer.objects.get(account_number="005001").first_name == "Anna"
    assert AsyncCustomer.objects.filter(async_account=guid).count() == 2


def test_t4_an_upload_repeated_after_a_lost_acknowledgement_stages_nothing_twice(houston):
    make_customer(houston, "Ann")
    run("P-0001")
    with connect(houston) as alias, connections[alias].cursor() as cursor:
        cursor.execute("UPDATE async_customer SET acknowledged_at = NULL")

    found = run("P-0001")

    assert found["counts"] == {"read": 1, "unchanged": 1}
    assert AsyncCustomer.objects.count() == 1


def test_t5_an_address_before_its_customer_waits_and_converts_later(store):
    guid = uuid4()
    make_event("address", store, async_account=guid, is_primary=True)

    run("pipeline")
    address = AsyncAddress.objects.get()
    assert (address.status, address.reason) == ("pending", "parent_missing")

    make_customer(store, "Ann", guid=guid)
    run("pipeline")

    assert CustomerAddress.objects.get().is_primary
    assert CustomerAddress.objects.get().customer.account_number == "005001"


def test_t6_an_address_for_a_known_customer_makes_no_new_one(store):
    import_account(store.channel.company, "004009", first_name="Bo", last_name="Berg")
    make_event("address", store, account_number="004009")

    for _ in range(2):
        run("pipeline")

    assert accounts() == []
    assert CustomerAddress.objects.get().customer.account_number == "004009"
    assert query(store, "SELECT account_number, city FROM customer_address") == [
        ("004009", "Houston")
    ]


def test_t14_edits_before_conversion_fold_in_order(store):
    guid = make_customer(store, "Ann", phone="111")
    for phone in ("222", "333"):
        make_event(
            "customer", store, operation="update", async_account=guid, first_name="Ann", phone=phone
        )

    run("pipeline")

    assert Customer.objects.get(account_number="005001").phone == "333"
    assert AsyncCustomer.objects.filter(async_account=guid, status="applied").count() == 3


def test_t15_an_edit_that_knows_only_the_guid_lands_on_the_account(store):
    guid = make_customer(store, "Ann", email="ann@example.com")
    run("P-0001")
    run("sync-customers")
    make_event(
        "customer",
        store,
        operation="update",
        async_account=guid,
        first_name="Ann",
        email="lee@example.com",
    )

    found = run("pipeline")

    assert accounts() == ["005001"]
    assert Customer.objects.get(account_number="005001").email == "lee@example.com"
    assert found["counts"]["updated"] == 1
    assert query(store, "SELECT email FROM customer") == [("lee@example.com",)]


def test_t16_an_address_removed_before_upload_is_not_active_in_hq(store):
    guid, address = make_customer(store, "Ann"), uuid4()
    make_event("address", store, async_account=guid, address_id=address)
    make_event("address", store, operation="deactivate", async_account=guid, address_id=address)

    run("pipeline")

    assert not CustomerAddress.objects.filter(is_active=True).exists()
    assert AsyncAddress.objects.filter(status="applied").count() == 2


def test_t16_an_address_removed_after_conversion_is_removed_everywhere(store, seattle):
    guid, address = make_customer(store, "Ann"), uuid4()
    make_event("address", store, async_account=guid, address_id=address)
    run("pipeline")
    make_event("address", store, operation="deactivate", async_account=guid, address_id=address)

    run("pipeline")

    kept = CustomerAddress.objects.get()
    assert (kept.is_active, kept.city) == (False, "Houston")
    assert [
        bool(active) for (active,) in query(seattle, "SELECT is_active FROM customer_address")
    ] == [False]


def test_a_deactivated_customer_disappears_from_every_lookup(store, seattle):
    guid = make_customer(store, "Ann")
    run("pipeline")
    make_event("customer", store, operation="deactivate", async_account=guid, last_name=None)

    run("pipeline")

    assert Customer.objects.get(account_number="005001").last_name == "Lee"
    assert lookup(store) == lookup(seattle) == []


def test_t20_a_second_p_job_on_the_same_database_is_busy(houston, seattle):
    make_customer(houston, "Ann")
    with Locks() as other:
        assert other.acquire(f"upload:{houston.pk}")

        alone = run("P-0001", channels=["houston"])
        both = run("P-0001")

    assert alone["outcome"] == "busy"
    assert both["outcome"] == "partly"
    assert run("P-0001")["counts"] == {"read": 1, "staged": 1}


def test_t21_a_lower_counter_that_commits_later_is_not_lost(houston):
    committed, uploaded = threading.Event(), threading.Event()

    def slow_till() -> None:
        """Takes the lower counter and keeps its transaction open until the upload is over."""
        with (
            connect(houston) as alias,
            transaction.atomic(using=alias),
            connections[alias].cursor() as cursor,
        ):
            cursor.execute(
                "INSERT INTO async_customer (event_id, occurred_at, operation, async_account,"
                " last_name) VALUES (gen_random_uuid(), now(), 'create', gen_random_uuid(), 'X')"
            )
            committed.set()
            assert uploaded.wait(30)
        connections.close_all()

    till = threading.Thread(target=slow_till)
    till.start()
    assert committed.wait(30)
    make_customer(houston, "Bo")
    first = run("P-0001")
    uploaded.set()
    till.join()
    second = run("P-0001")

    assert (first["counts"]["staged"], second["counts"]["staged"]) == (1, 1)


def test_t25_customers_beyond_the_number_sequence_fail_and_convert_once_it_is_longer(store):
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
    assert accounts() == ["005001", "005002", "005003", "005004", "005005"]


def test_a_channel_added_later_is_given_everything_without_replay(store, register):
    make_customer(store, "Ann")
    run("pipeline")
    web = register("web")

    found = run("1010", channels=["web"])

    assert found["counts"] == {"distributed": 1}
    assert lookup(web) == [("005001", "Ann")]


def test_a_channel_that_is_down_stays_owed_while_the_others_go_on(store, seattle):
    from tests.support.channels import on_server

    make_customer(store, "Ann")
    on_server("ALTER DATABASE ch_seattle RENAME TO ch_seattle_away")

    found = run("pipeline")

    assert found["outcome"] == "partly"
    assert "seattle cannot be reached" in found["message"]
    assert lookup(store) == [("005001", "Ann")]

    on_server("ALTER DATABASE ch_seattle_away RENAME TO ch_seattle")
    run("pipeline")
    assert lookup(seattle) == [("005001", "Ann")]


def test_a_till_clock_in_the_future_does_not_win_over_a_later_edit_of_the_same_till(store):
    tomorrow = timezone.now() + timedelta(days=365)
    guid = make_customer(store, "Ann", occurred_at=tomorrow)
    make_event("customer", store, operation="update", async_account=guid, first_name="Anna")

    run("pipeline")

    assert Customer.objects.get(account_number="005001").first_name == "Anna"


def test_a_corrected_event_replaces_the_quarantined_one(store):
    guid = make_customer(store, "A" * 90)
    run("pipeline")
    assert Quarantine.objects.get().status == "open"

    make_customer(store, "Ann", guid=guid)
    run("pipeline")

    assert Quarantine.objects.get().status == "superseded"
    assert lookup(store) == [("005001", "Ann")]


def test_a_corrected_address_replaces_the_quarantined_one_and_no_other(store):
    guid, address = make_customer(store, "Ann"), uuid4()
    make_event("address", store, async_account=guid, address_id=address, county="X" * 40)
    make_event("address", store, async_account=guid, county="Y" * 40)
    run("pipeline")

    make_event("address", store, async_account=guid, address_id=address, county="X")
    run("pipeline")

    assert sorted(Quarantine.objects.values_list("status", flat=True)) == ["open", "superseded"]
