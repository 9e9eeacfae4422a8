"""Tills that write at the wrong moment, or whose clock is wrong."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from stores.models import AsyncCustomer, Customer, RetailTransaction
from tests.proofs.chaos.places import Place, rows
from tests.support.after_a_fault import broken, waiting
from tests.support.make import lookup, make_customer, make_event, make_sale, run

pytestmark = pytest.mark.slow

INSERT = """INSERT INTO async_customer (event_id, occurred_at, operation, async_account,
                                        customer_type, first_name, last_name)
            VALUES ('{}', '{}', 'update', '{}', 'person', 'Eva', 'Lee')"""
CENTURIES = [datetime(2000, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)]


def as_till(store, statement):
    """One statement of a till, committed, while HQ is visiting."""
    with closing(Place.of(store).open(write=True)) as till:
        till.cursor().execute(statement)
        till.commit()


def waiting_at(store):
    """What the channel does not know HQ to hold, seen while HQ is visiting."""
    with Place.of(store).snapshot() as till:
        [(count,)] = rows(till, "SELECT count(*) FROM async_customer WHERE acknowledged_at IS NULL")
    return count


@pytest.mark.fault("F-22")
@pytest.mark.parametrize("point", ["upload:before_hq_commit", "upload:after_hq_commit"])
def test_event_written_between_read_and_acknowledge_comes_next(store, at, point):
    guid, left = make_customer(store, "Ann"), []
    edit = INSERT.format(uuid4(), timezone.now().isoformat(), guid)
    at(point, lambda: as_till(store, edit))
    at("upload:after_acknowledge", lambda: left.append(waiting_at(store)))

    found = run("pipeline")

    assert left == [1]
    assert found["counts"]["staged"] == 2
    assert waiting(store) == 0
    assert lookup(store) == [("005001", "Eva")]
    assert broken() == []


@pytest.mark.fault("F-22")
@pytest.mark.parametrize("point", ["upload:before_hq_commit", "upload:after_hq_commit"])
def test_event_changed_between_read_and_acknowledge_is_refused_to_the_till(store, at, point):
    make_customer(store, "Ann")
    refused = []

    def change():
        with pytest.raises(Exception, match="an event never changes") as error:
            as_till(store, "UPDATE async_customer SET first_name = 'Eve'")
        refused.append(error)

    at(point, change)

    run("pipeline")

    assert refused
    assert lookup(store) == [("005001", "Ann")]
    assert broken() == []


@pytest.mark.fault("F-54")
@pytest.mark.parametrize("clock", CENTURIES)
def test_till_in_another_century_is_served_and_its_business_date_is_named(store, seattle, clock):
    guid = make_customer(store, "Ann", occurred_at=clock)
    sale = make_sale(store, occurred_at=clock, business_date=clock.date(), async_account=guid)
    make_sale(store, async_account=guid)

    found = run("pipeline")
    run("validate")

    assert found["outcome"] == "succeeded"
    assert lookup(store) == lookup(seattle) == [("005001", "Ann")]
    assert waiting(store) == 0
    flaws = dict(
        RetailTransaction.objects.values_list("transaction_id", "errors__rule").order_by("pk")
    )
    assert flaws.pop(sale) == "business_date_far"
    assert list(flaws.values()) == [None]
    assert broken() == []


@pytest.mark.fault("F-54")
@pytest.mark.parametrize("clock", CENTURIES)
def test_till_in_another_century_wins_not_for_ever_and_loses_not_for_ever(store, seattle, clock):
    guid = make_customer(store, "Ann", occurred_at=timezone.now() - timedelta(hours=1))
    run("pipeline")
    edit = {"operation": "update", "async_account": guid}
    make_event("customer", store, **edit, first_name="Of the till", occurred_at=clock)
    run("pipeline")
    make_event("customer", seattle, **edit, first_name="Of Seattle")
    run("pipeline")

    assert lookup(store) == lookup(seattle) == [("005001", "Of Seattle")]

    # What the same till writes later is later, whatever its clock says; so is one set right.
    make_event("customer", store, **edit, first_name="Set right")
    run("pipeline")

    assert Customer.objects.get(number=5001).first_name == "Set right"
    assert AsyncCustomer.objects.filter(status="pending").count() == 0
