"""Tills that write while HQ visits their channel, and tills whose clock is wrong.

From conftest.py: `seattle` is a store on PostgreSQL; `store` is a store, once on PostgreSQL and
once on SQLite; `at_failpoint` calls a function at a named point of the code.
"""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from stores.models import AsyncCustomer, Customer, RetailTransaction
from tests.proofs.chaos.places import Place, rows
from tests.support.after_a_fault import waiting
from tests.support.make import lookup, make_customer, make_event, make_sale, run
from tests.support.promises import broken_promises

pytestmark = pytest.mark.slow

UPDATE_EVENT = """INSERT INTO async_customer (event_id, occurred_at, operation, async_account,
                                              customer_type, first_name, last_name)
                  VALUES ('{}', '{}', 'update', '{}', 'person', 'Eva', 'Lee')"""
# HQ reads events before the first and acknowledges them after the second.
BEFORE_ACKNOWLEDGE = ["upload:before_hq_commit", "upload:after_hq_commit"]
WRONG_CLOCKS = [datetime(2000, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)]


def run_as_till(store, statement):
    """Commit one statement of a till on a connection of its own, during HQ's visit."""
    with closing(Place.of(store).open(write=True)) as till:
        till.cursor().execute(statement)
        till.commit()


def count_waiting_as_till(store):
    """Count the events that HQ has not acknowledged, during HQ's visit."""
    with Place.of(store).snapshot() as till:
        [(count,)] = rows(till, "SELECT count(*) FROM async_customer WHERE acknowledged_at IS NULL")
    return count


@pytest.mark.fault("F-22")  # a till writes between read and acknowledgement
@pytest.mark.parametrize("failpoint", BEFORE_ACKNOWLEDGE)
def test_an_event_before_the_acknowledgement_is_in_the_next_batch(store, at_failpoint, failpoint):
    guid = make_customer(store, "Ann")
    update = UPDATE_EVENT.format(uuid4(), timezone.now().isoformat(), guid)
    counts = []
    at_failpoint(failpoint, lambda: run_as_till(store, update))
    at_failpoint("upload:after_acknowledge", lambda: counts.append(count_waiting_as_till(store)))

    result = run("pipeline")

    assert counts == [1]
    assert result["counts"]["staged"] == 2
    assert waiting(store) == 0
    assert lookup(store) == [("005001", "Eva")]
    assert broken_promises() == []


@pytest.mark.fault("F-22")  # a till writes between read and acknowledgement
@pytest.mark.parametrize("failpoint", BEFORE_ACKNOWLEDGE)
def test_a_till_cannot_change_an_event_before_the_acknowledgement(store, at_failpoint, failpoint):
    make_customer(store, "Ann")
    refusals = []

    def change_event():
        with pytest.raises(Exception, match="an event never changes") as refusal:
            run_as_till(store, "UPDATE async_customer SET first_name = 'Eve'")
        refusals.append(refusal)

    at_failpoint(failpoint, change_event)

    run("pipeline")

    assert len(refusals) == 1
    assert lookup(store) == [("005001", "Ann")]
    assert broken_promises() == []


@pytest.mark.fault("F-54")  # a till's clock is far off
@pytest.mark.parametrize("clock", WRONG_CLOCKS)
def test_a_sale_from_another_century_fails_validation_alone(store, seattle, clock):
    guid = make_customer(store, "Ann", occurred_at=clock)
    wrong_sale = make_sale(store, occurred_at=clock, business_date=clock.date(), async_account=guid)
    right_sale = make_sale(store, async_account=guid)

    result = run("pipeline")
    run("validate")

    assert result["outcome"] == "succeeded"
    assert lookup(store) == lookup(seattle) == [("005001", "Ann")]
    assert waiting(store) == 0
    rules = RetailTransaction.objects.values_list("transaction_id", "errors__rule")
    assert dict(rules) == {wrong_sale: "business_date_far", right_sale: None}
    assert broken_promises() == []


@pytest.mark.fault("F-54")  # a till's clock is far off
@pytest.mark.parametrize("clock", WRONG_CLOCKS)
def test_an_edit_from_another_century_yields_to_later_ones(store, seattle, clock):
    guid = make_customer(store, "Ann", occurred_at=timezone.now() - timedelta(hours=1))
    run("pipeline")
    edit = {"operation": "update", "async_account": guid}
    make_event("customer", store, **edit, first_name="Of the till", occurred_at=clock)
    run("pipeline")
    make_event("customer", seattle, **edit, first_name="Of Seattle")
    run("pipeline")

    assert lookup(store) == lookup(seattle) == [("005001", "Of Seattle")]

    # Later events of the same till count as later, whatever its clock said before.
    make_event("customer", store, **edit, first_name="Set right")
    run("pipeline")

    assert Customer.objects.get(number=5001).first_name == "Set right"
    assert not AsyncCustomer.objects.filter(status="pending").exists()
