"""Generated faults: each is one wrong row that the channel's own tables accept.

From conftest.py: `popup` is a store on SQLite; `store` is a store, once on PostgreSQL and once on
SQLite.
"""

from collections import Counter

import pytest

from stores.traffic import faults, write_traffic
from stores.traffic.store import Store
from tests.support.make import engine_of, query

SEED = 1010


def faulty_values(database, expression):
    """The values of faulty customers, which all come from one terminal."""
    statement = f"SELECT {expression} FROM async_customer WHERE terminal_id = 'T99'"  # noqa: S608
    return [value for (value,) in query(database, statement)]


def test_every_fault_of_the_engine_is_written(store):
    expected = faults.faults_on(engine_of(store))

    result = write_traffic(store, customers=len(expected), faulty=1, seed=SEED)

    assert result.faulty_customers == len(expected)
    assert result.quarantined == Counter(fault.reason for fault in expected if fault.reason)


def test_faulty_customers_do_not_replace_good_ones(store):
    with_faults = write_traffic(store, customers=20, faulty=0.5, seed=SEED)
    without_faults = write_traffic(store, customers=20, seed=SEED)

    assert with_faults.faulty_customers == 10
    assert without_faults.customers == 10


@pytest.mark.slow
@pytest.mark.parametrize("fault", faults.FAULTS, ids=lambda fault: fault.name)
def test_a_fault_is_in_one_row(fault):
    store = Store("houston", "USA", SEED)

    events = faults.make_faulty(store.stream(), store, store.moment(0), fault)

    assert set(events) == {"async_customer", fault.table}
    assert fault.name == "customer_never_comes" or len(events["async_customer"]) == 1
    assert fault.spoil.__doc__


def test_sqlite_stores_invalid_text_bytes_and_dates_unchanged(popup):
    count = len(faults.faults_on("sqlite"))

    write_traffic(popup, customers=count, faulty=1, seed=SEED)

    assert b"M\xc3" in faulty_values(popup, "CAST(last_name AS blob)")
    assert "blob" in faulty_values(popup, "typeof(first_name)")
    assert "0000-00-00" in faulty_values(popup, "birth_date")


def test_an_empty_event_id_is_written_once(popup):
    write_traffic(popup, customers=40, faulty=1, seed=SEED)
    write_traffic(popup, customers=40, faulty=1, seed=SEED + 1)

    assert query(popup, "SELECT count(*) FROM async_customer WHERE event_id = ''") == [(1,)]


@pytest.mark.parametrize(
    "first_name", [faults.FAMILY, "<script>alert(1)</script>", "小明", "ليلى"], ids=ascii
)
def test_an_unusual_name_is_written_unchanged(store, first_name):
    write_traffic(store, customers=40, faulty=1, seed=SEED)

    statement = "SELECT DISTINCT first_name FROM async_customer WHERE first_name = %s"
    assert query(store, statement, first_name) == [(first_name,)]
