"""Generated traffic is reproducible: the same seed writes the same rows, and only once.

From conftest.py: `houston` is a store on PostgreSQL; `popup` is one on SQLite; `store` is a store,
once on PostgreSQL and once on SQLite.
"""
# ruff: noqa: S608 - the names put into SQL are those of the schema

from itertools import count

import pytest

from stores import traffic
from stores.traffic import SeedTaken, people, write_traffic
from stores.traffic.people import CUSTOMER_EVENT_TABLES
from stores.traffic.store import Store, day_of, fresh_seed
from tests.support.event_rows import count_events, deliver_accounts, raw_event_rows
from tests.support.make import query

SEED = 1010


def generate_customers(database):
    store = Store.of(database, SEED)
    return [people.new_customer(store.stream(n), store, store.moment(n / 9)) for n in range(9)]


def test_the_same_seed_generates_the_same_customers(store):
    assert generate_customers(store) == generate_customers(store)


def test_the_same_seed_writes_its_rows_only_once(store):
    traffic_options = {"customers": 12, "edits": 6, "seed": SEED, "faulty": 0.3}
    first = write_traffic(store, **traffic_options)
    before = raw_event_rows(store)

    second = write_traffic(store, **traffic_options)

    assert raw_event_rows(store) == before
    assert second.rows.total() == second.edits == second.faulty_customers == 0
    assert second.repeated == first.rows.total() == count_events(store).total()


def test_the_same_seed_writes_nothing_after_its_rows_were_acknowledged(store):
    first = write_traffic(store, customers=5, seed=SEED)
    for table in CUSTOMER_EVENT_TABLES:
        query(store, f"UPDATE {table} SET acknowledged_at = '2026-01-01T00:00:00+00:00'")

    second = write_traffic(store, customers=5, seed=SEED)

    assert first.rows.total() == count_events(store).total() > 0
    assert second.rows.total() == 0


def test_the_same_seed_writes_no_edits_twice_after_delivery(store):
    write_traffic(store, customers=8, edits=30, seed=SEED)
    before = count_events(store)
    deliver_accounts(store)

    second = write_traffic(store, customers=8, edits=30, seed=SEED)

    assert second.edits == 0
    assert count_events(store) == before


def test_an_interrupted_call_is_completed_by_the_same_call(store, monkeypatch):
    insert, calls = traffic._insert, count()

    def insert_until_interrupted(*args):
        if next(calls) == 6:
            raise InterruptedError
        return insert(*args)

    monkeypatch.setattr(traffic, "INSERT_BATCH", 10)
    # The second batch has inserted its customers, but not their addresses.
    monkeypatch.setattr(traffic, "_insert", insert_until_interrupted)
    with pytest.raises(InterruptedError):
        write_traffic(store, customers=20, seed=SEED)
    monkeypatch.undo()
    written_before = count_events(store)["async_customer"]

    repeated = write_traffic(store, customers=20, seed=SEED)

    assert written_before == 10
    assert repeated.customers == 10


def test_calls_without_a_seed_write_different_customers(store):
    first = write_traffic(store, customers=10)
    second = write_traffic(store, customers=10)

    assert first.seed != second.seed
    assert count_events(store)["async_customer"] == 20


def test_the_same_seed_writes_different_customers_in_two_channels(houston, popup):
    guids = set()
    for database in (houston, popup):
        write_traffic(database, customers=5, seed=SEED)
        rows = query(database, "SELECT async_account FROM async_customer")
        guids |= {str(guid) for (guid,) in rows}

    assert len(guids) == 10


def test_a_seed_that_has_written_other_rows_is_refused(popup):
    write_traffic(popup, customers=3, seed=SEED)
    popup.channel.country = "USA"

    with pytest.raises(SeedTaken, match="choose another"):
        write_traffic(popup, customers=3, seed=SEED)


def test_a_new_seed_begins_with_its_day():
    seed = fresh_seed("NLD")

    assert str(seed).startswith(f"{day_of(seed):%Y%m%d}")


def test_a_seed_has_the_day_with_which_it_begins():
    assert day_of(20260228_000001).isoformat() == "2026-02-28"


@pytest.mark.parametrize("seed", [-1, 0, 7, 99999999_000000])
def test_a_seed_without_a_day_has_a_fixed_day(seed):
    assert day_of(seed).isoformat() == "2025-06-02"
