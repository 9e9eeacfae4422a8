"""Counters of events and account numbers at their limits, and events that commit out of order.

From conftest.py: `houston` is a store on PostgreSQL; `store` is a store, once on PostgreSQL and
once on SQLite; `register` registers a channel by its code.
"""

from contextlib import closing
from uuid import uuid4

import pytest

from stores.models import AsyncCustomer, Customer
from tests.proofs.chaos.places import Place
from tests.support.convergence import assert_converges, checker_of
from tests.support.make import make_customer, query, run

pytestmark = pytest.mark.slow

INSERT = """INSERT INTO async_customer (event_id, occurred_at, operation, async_account,
                                        customer_type, first_name, last_name)
            VALUES (%s, now(), 'create', %s, 'person', 'Ann', 'Lee')"""
LARGEST_COUNTER = 2**63 - 1


@pytest.mark.fault("F-20")  # a lower counter commits late
def test_an_event_committed_after_a_higher_counter_is_not_lost(houston):
    late_guid = uuid4()
    with closing(Place.of(houston).open(write=True)) as slow_till:
        slow_till.cursor().execute(INSERT, [str(uuid4()), str(late_guid)])
        early_guid = make_customer(houston, "Bo")
        first = run("pipeline")
        slow_till.commit()

    second = run("pipeline")

    by_counter = query(
        houston, "SELECT async_account FROM async_customer ORDER BY replication_counter"
    )
    assert by_counter == [(late_guid,), (early_guid,)]
    assert first["counts"]["converted"] == 1
    assert second["counts"]["converted"] == 1
    assert_converges(houston)


@pytest.mark.fault("F-62")  # counters near their limit
def test_after_the_last_account_number_customers_fail(register):
    houston = register("houston", account_format="C-##", first_number=97, last_number=99)
    for name in ("Ann", "Bo", "Cy", "Dee", "Eva"):
        make_customer(houston, name)

    first = run("pipeline")["counts"]
    second = run("pipeline")["counts"]

    customers = Customer.objects.filter(number__isnull=False).order_by("number")
    accounts = customers.values_list("account_number", flat=True)
    assert list(accounts) == ["C-97", "C-98", "C-99"]
    assert (first["converted"], first["failed"]) == (3, 2)
    assert "converted" not in second
    failed = AsyncCustomer.objects.filter(status="failed").values_list("reason", flat=True)
    assert list(failed) == ["sequence_exhausted"] * 2
    assert checker_of(houston).safety() == []


def set_next_counter(database, counter: int) -> None:
    """Let the next event of a customer get this counter; there is an event already."""
    place = Place.of(database)
    with closing(place.open(write=True)) as connection:
        if place.is_file:
            statement = f"UPDATE sqlite_sequence SET seq = {counter - 1}"  # noqa: S608
        else:
            statement = f"""ALTER TABLE async_customer ALTER COLUMN replication_counter
                            RESTART WITH {counter}"""
        connection.cursor().execute(statement)
        connection.commit()


@pytest.mark.fault("F-62")  # counters near their limit
def test_after_the_largest_counter_only_earlier_events_arrive(store):
    make_customer(store, "Ann")
    set_next_counter(store, LARGEST_COUNTER)
    make_customer(store, "Bo")

    with pytest.raises(Exception, match=r"reached maximum value|no room left"):
        make_customer(store, "Cy")

    assert run("pipeline")["counts"]["converted"] == 2
    assert AsyncCustomer.objects.get(first_name="Bo").replication_counter == LARGEST_COUNTER
    assert_converges(store)
