"""A copy of a channel, registered as a store of its own, doubles no customer and no sale.

From conftest.py: `store` is a store, once on PostgreSQL and once on SQLite; `back_up` backs up a
channel database; `command` calls a management command and returns its output.
"""

import pytest
from django.utils import timezone

from stores.models import ChannelDatabase, Incident, Quarantine, RetailTransaction
from stores.models.job import JobCode
from stores.pipeline.register import RegistrationRefused, register_channel
from tests.support.after_a_fault import waiting
from tests.support.make import make_customer, make_sale, only_case, query, run
from tests.support.orders import make_order
from tests.support.promises import broken_promises

pytestmark = pytest.mark.slow


def count_applied_sessions(database):
    [(count,)] = query(database, "SELECT count(*) FROM applied_session")
    return count


def register_copy(backup):
    """Register the backup of a channel as the new store Austin."""
    url = f"sqlite:///channels/{backup.file.name}" if backup.file else f"embedded:{backup.name}"
    values = {"code": "austin", "name": "Austin", "kind": "store", "company": "USRT"}
    with pytest.raises(
        RegistrationRefused, match=r"or a copy of it\. If it is a copy, --renew-identity"
    ):
        register_channel(**values, database=url)
    return register_channel(**values, database=url, renew_identity=True)


@pytest.mark.fault("F-32")  # a channel database was copied
def test_events_shared_by_copy_and_original_are_staged_once(store, back_up):
    make_customer(store, "Ann")
    austin = register_copy(back_up(store))

    first = run(JobCode.UPLOAD, channels=[store.channel.code])
    second = run(JobCode.UPLOAD, channels=["austin"])
    run(JobCode.PIPELINE)

    assert first["counts"] == {"read": 1, "staged": 1}
    assert second["counts"] == {"read": 1, "unchanged": 1}
    assert waiting(austin) == 0
    assert count_applied_sessions(austin) == 1
    assert count_applied_sessions(store) == 1
    assert not Incident.objects.open().exists()


@pytest.mark.fault("F-32")  # a channel database was copied
def test_a_copy_s_row_quarantined_for_its_original_is_no_difference(store, back_up):
    make_customer(store, "Ann", email="nobody")
    run(JobCode.UPLOAD)
    register_copy(back_up(store))

    comparison = run(JobCode.RECONCILE)

    assert comparison["outcome"] == "succeeded"
    assert Quarantine.objects.count() == 1
    assert broken_promises() == []


@pytest.fixture
def austin(store, back_up) -> ChannelDatabase:
    """A store that began as a copy of the other one, which had posted the sale T-1 and an order."""
    ann = make_customer(store, "Ann")
    make_sale(store, "10.00", transaction_id="T-1", async_account=ann)
    make_order(store, "SO-1", transaction_id="T-2", async_account=ann)
    return register_copy(back_up(store))


def post_everything(store):
    """Post the original's sales first, and then those of the copy."""
    original = store.channel.code
    assert run(JobCode.END_OF_DAY, channels=[original])["outcome"] == "succeeded"
    assert run(JobCode.END_OF_DAY, channels=["austin"])["outcome"] in ("succeeded", "nothing_to_do")
    run(JobCode.ORDERS)


@pytest.mark.fault("F-32")  # a channel database was copied
def test_sales_shared_by_copy_and_original_are_posted_once(store, austin):
    post_everything(store)

    assert posted_sales(store) == [("T-1", 10), ("T-2", 10)]
    assert posted_sales(austin) == []
    assert not Quarantine.objects.exists()
    assert waiting(austin, "retail_transaction") == 0
    assert broken_promises() == []


@pytest.mark.fault("F-32")  # a channel database was copied
def test_a_sale_numbered_by_the_copy_as_by_the_original_is_quarantined(store, austin):
    # The copied till goes on with the next number and with the store number of the original.
    make_sale(store, "20.00", transaction_id="T-3", store_number=store.channel.code)
    make_sale(austin, "30.00", transaction_id="T-3", store_number=store.channel.code)
    # Another sale was written in both at the same moment.
    moment = timezone.now()
    for shop in (store, austin):
        make_sale(shop, "5.00", transaction_id="T-4", occurred_at=moment, store_number=None)

    post_everything(store)

    assert posted_sales(store) == [("T-1", 10), ("T-2", 10), ("T-3", 20), ("T-4", 5)]
    assert posted_sales(austin) == []
    cases = Quarantine.objects.values_list("database__channel__code", "reason", "field")
    assert list(cases) == [("austin", "document_elsewhere", "transaction_id")] * 2
    assert waiting(austin, "retail_transaction") == 0
    assert broken_promises() == []


@pytest.mark.fault("F-32")  # a channel database was copied
def test_two_stores_may_use_one_number_for_different_sales(store, austin):
    make_sale(store, "40.00", transaction_id="T-5")
    make_sale(austin, "50.00", transaction_id="T-5")

    post_everything(store)

    assert posted_sales(store) == [("T-1", 10), ("T-2", 10), ("T-5", 40)]
    assert posted_sales(austin) == [("T-5", 50)]
    assert broken_promises() == []


@pytest.mark.fault("F-32")  # a channel database was copied
def test_a_person_releases_a_sale_that_the_copy_made_as_well(store, austin, command):
    for shop, price in ((store, "20.00"), (austin, "30.00")):
        make_sale(shop, price, transaction_id="T-3", store_number=store.channel.code)
    post_everything(store)

    command("quarantine", "release", only_case())
    run(JobCode.END_OF_DAY)

    assert posted_sales(store) == [("T-1", 10), ("T-2", 10), ("T-3", 20)]
    assert posted_sales(austin) == [("T-3", 30)]


def posted_sales(database):
    """Transaction id and net amount of the sales that are posted for the channel."""
    posted = RetailTransaction.objects.filter(channel=database.channel, sales_order__isnull=False)
    return list(posted.order_by("transaction_id").values_list("transaction_id", "net_amount"))
