"""Upload stages valid rows and quarantines all others once, until a correction arrives.

From conftest.py: `seattle` is a store on PostgreSQL; `popup` is a store on SQLite; `store` is a
store, once on PostgreSQL and once on SQLite.
"""

from uuid import uuid4

import pytest

from stores.models import Customer, CustomerAddress, Quarantine, UploadSession
from stores.models.job import JobCode
from stores.traffic.faults import IDEOGRAPH
from tests.support.make import make_customer, make_event, query, run, unacknowledged


def test_a_bad_row_uploaded_twice_is_quarantined_once(store):
    make_customer(store, email="nobody")
    run(JobCode.UPLOAD)
    query(store, "UPDATE async_customer SET acknowledged_at = NULL")

    upload = run(JobCode.UPLOAD)

    assert upload["counts"] == {"read": 1, "unchanged": 1}
    assert Quarantine.objects.get().attempts == 2
    assert unacknowledged(store) == 0


@pytest.mark.slow
def test_a_bad_row_is_superseded_by_its_correction(store):
    guid = make_customer(store, email="nobody")
    run(JobCode.PIPELINE)
    make_customer(store, guid=guid, email="ann@example.com")

    run(JobCode.PIPELINE)

    assert Quarantine.objects.get().status == "superseded"
    assert Customer.objects.get(account_number="005001").email == "ann@example.com"


@pytest.mark.slow
@pytest.mark.parametrize("column", [{"street": "Main\0Street"}, {"is_primary": 9e999}])
def test_a_value_that_json_cannot_hold_can_be_corrected(popup, column):
    keys = {"async_account": make_customer(popup, "Ann"), "address_id": uuid4()}
    make_event("address", popup, **keys, **column)
    run(JobCode.PIPELINE)
    make_event("address", popup, **keys, street="Main Street")

    pipeline = run(JobCode.PIPELINE)

    assert pipeline["outcome"] == "succeeded"
    assert Quarantine.objects.get().status == "superseded"
    assert CustomerAddress.objects.get().street == "Main Street"


@pytest.mark.slow
def test_a_channel_may_use_a_guid_that_it_was_sent(store, seattle):
    guid = make_customer(store, "Ann")
    run(JobCode.PIPELINE)
    make_customer(seattle, "Anna", guid=guid, operation="update")

    run(JobCode.PIPELINE)

    assert not Quarantine.objects.exists()
    assert Customer.objects.get(account_number="005001").first_name == "Anna"


def test_texts_of_the_maximum_length_are_kept_whole(store):
    name = IDEOGRAPH * 60
    make_customer(store, name, last_name=name, name=IDEOGRAPH * 300)

    run(JobCode.PIPELINE)

    customer = Customer.objects.get(account_number="005001")
    assert (customer.first_name, customer.name) == (name, IDEOGRAPH * 300)


def test_the_upload_session_counts_every_row(store):
    make_customer(store, "Ann")
    make_customer(store, email="nobody")
    run(JobCode.UPLOAD)
    query(store, "UPDATE async_customer SET acknowledged_at = NULL")
    make_customer(store, "Bo")

    run(JobCode.UPLOAD)

    first, second = UploadSession.objects.order_by("started_at")
    assert (first.read, first.staged, first.unchanged, first.quarantined) == (2, 1, 0, 1)
    assert (second.read, second.staged, second.unchanged, second.quarantined) == (3, 1, 2, 0)
    assert {first.status, second.status} == {"applied"}
