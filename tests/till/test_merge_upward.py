"""A till merges what its register wrote while offline into the database of its store.

From conftest.py: `store` is a store, once on PostgreSQL and once on SQLite. The register is always
a SQLite file.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from stores import failpoints
from stores.channeldb.schema.tables import EVENT_TABLES, PART_TABLES, Table
from stores.models import ChannelDatabase
from stores.till import merge_upward
from stores.till.merge_upward import Conflict
from tests.support.make import (
    article,
    engine_of,
    lookup,
    make_customer,
    make_event,
    make_sale,
    numbered,
    query,
    sale_rows,
    unacknowledged,
    write_rows,
)
from tests.support.registers import merge, offline_register

NOT_COMPARED = ("replication_counter", "acknowledged_at")


@pytest.fixture
def till_1(store) -> Iterator[ChannelDatabase]:
    with offline_register(store) as database:
        yield database


@pytest.fixture
def ann(till_1) -> str:
    """Ann with one of everything, and two sales, written by the offline register. Her GUID."""
    guid = make_customer(till_1, "Ann", created_offline=True, birth_date="1990-01-31")
    make_customer(till_1, "Anne", guid=guid, operation="update", created_offline=True)
    for kind in ("address", "contact", "affiliation", "attribute"):
        make_event(kind, till_1, async_account=guid, created_offline=True)
    for prices in (["10.00", "5.50"], ["7"]):
        make_sale(till_1, *prices, async_account=guid, created_offline=True)
    return str(guid)


def canonical(value: Any) -> Any:
    """A value in a form that both engines give for it."""
    text = str(value)
    if isinstance(value, bool):
        return int(value)
    if text[4:5] == "-" and text[13:14] == ":":
        return datetime.fromisoformat(text).astimezone(UTC)
    try:
        return float(text)
    except ValueError:
        return None if value is None else text


def rows_of(database: ChannelDatabase, table: Table) -> list[list[Any]]:
    """The rows that a till wrote, in the order of the database."""
    columns = [name for name in table.column_names if name not in NOT_COMPARED]
    order = "replication_counter" if table.triggers == "event" else "transaction_id, line_number"
    rows = query(database, f"SELECT {', '.join(columns)} FROM {table.name} ORDER BY {order}")  # noqa: S608
    return [[canonical(value) for value in row] for row in rows]


def contents(database: ChannelDatabase) -> dict[str, list[list[Any]]]:
    return {table.name: rows_of(database, table) for table in (*EVENT_TABLES, *PART_TABLES)}


def test_the_store_then_has_all_that_the_register_wrote(store, till_1, ann):
    counts = merge(till_1, store)

    assert (counts.copied, counts.known, counts.left, counts.conflicts) == (8, 0, 0, [])
    assert contents(store) == contents(till_1)
    assert lookup(store) == [("Pending sync", "Anne")]


def test_events_wait_for_headquarters_in_both_databases(store, till_1, ann):
    merge(till_1, store)

    assert unacknowledged(store) == unacknowledged(till_1) == 6


def test_merging_again_copies_nothing(store, till_1, ann):
    merge(till_1, store)
    before = contents(store)

    counts = merge(till_1, store)

    assert (counts.copied, counts.known, counts.conflicts) == (0, 8, [])
    assert contents(store) == before


def test_what_the_register_writes_later_follows(store, till_1, ann):
    merge(till_1, store)
    make_customer(till_1, "Bo")

    assert merge(till_1, store).copied == 1
    assert contents(store) == contents(till_1)


def test_events_that_headquarters_has_acknowledged_in_the_register_are_merged_too(
    store, till_1, ann
):
    for table in EVENT_TABLES:
        query(till_1, f"UPDATE {table.name} SET acknowledged_at = occurred_at")  # noqa: S608

    merge(till_1, store)

    assert contents(store) == contents(till_1)
    assert unacknowledged(store) == 6


@pytest.mark.parametrize("point", failpoints.MERGE_POINTS)
def test_a_merge_that_was_interrupted_is_completed_by_the_next(
    store, till_1, ann, point, monkeypatch
):
    class Interrupted(Exception):
        pass

    def interrupt_the_fourth() -> None:
        chunks.append(point)
        if len(chunks) == 4:
            raise Interrupted

    chunks: list[str] = []
    monkeypatch.setattr(merge_upward, "CHUNK", 1)
    monkeypatch.setitem(failpoints.actions, point, interrupt_the_fourth)
    with pytest.raises(Interrupted):
        merge(till_1, store)
    copied = sum(len(rows_of(store, table)) for table in EVENT_TABLES)
    assert copied == (3 if point == "merge:before_channel_commit" else 4)

    counts = merge(till_1, store)

    assert (counts.copied, counts.known) == (8 - copied, copied)
    assert contents(store) == contents(till_1)


def test_an_event_that_says_something_else_in_the_store_is_reported_and_stays(store, till_1):
    event_id = uuid4()
    make_customer(store, "Ann", event_id=event_id)
    make_customer(till_1, "Bo", event_id=event_id)
    make_customer(till_1, "Cy")

    counts = merge(till_1, store)

    assert counts.conflicts == [Conflict("async_customer", str(event_id))]
    assert counts.copied == 1
    assert lookup(store) == [("Pending sync", "Ann"), ("Pending sync", "Cy")]
    assert lookup(till_1) == [("Pending sync", "Bo"), ("Pending sync", "Cy")]


@pytest.mark.parametrize("changed", ["number", "line", "payment"])
def test_a_sale_that_says_something_else_in_the_store_is_reported_and_stays(store, till_1, changed):
    rows = sale_rows(store, "10.00", transaction_id="T-1")
    write_rows(store, rows)
    if changed == "number":
        rows["retail_transaction"][0]["event_id"] = uuid4()
    elif changed == "line":
        rows["retail_transaction_line"][0]["item_id"] = "0005"
    else:
        rows["retail_transaction_payment"][0]["tender_type"] = "card"
    write_rows(till_1, rows)
    before = contents(store)

    counts = merge(till_1, store)

    event_id = str(rows["retail_transaction"][0]["event_id"])
    assert (counts.copied, counts.known) == (0, 0)
    assert counts.conflicts == [Conflict("retail_transaction", event_id)]
    assert contents(store) == before


def test_the_same_time_and_amount_in_another_spelling_are_no_conflict(store, till_1):
    rows = sale_rows(store, "10.00", occurred_at=datetime(2026, 11, 20, 9, tzinfo=UTC))
    write_rows(store, rows)
    rows["retail_transaction"][0] |= {
        "occurred_at": "2026-11-20T10:00:00+01:00",
        "gross_amount": "10.7",
    }
    write_rows(till_1, rows)

    assert merge(till_1, store).known == 1


def test_a_sale_waits_for_its_lines(store, till_1):
    rows = sale_rows(till_1, "10.00", "5.00", transaction_id="T-1")
    last_line = rows["retail_transaction_line"].pop()
    write_rows(till_1, rows)

    assert merge(till_1, store).incomplete == 1
    assert contents(store)["retail_transaction"] == []

    write_rows(till_1, {"retail_transaction_line": [last_line]})

    assert merge(till_1, store).copied == 1
    assert contents(store) == contents(till_1)


def test_what_no_database_can_hold_stays_in_the_register(store, till_1):
    make_customer(till_1, "Ann", birth_date="unknown")
    make_customer(till_1, "Bo")
    make_sale(till_1, lines=[article(quantity="0.00001")])

    counts = merge(till_1, store)

    assert (counts.copied, counts.left) == (1, 2)
    assert lookup(store) == [("Pending sync", "Bo")]


def test_an_event_that_the_store_refuses_stays_and_the_others_of_its_chunk_come(store, till_1):
    [orphan] = numbered([article(item_id="other")], "T-1")
    write_rows(store, {"retail_transaction_line": [orphan]})
    for number in ("T-0", "T-1", "T-2"):
        make_sale(till_1, transaction_id=number)

    counts = merge(till_1, store)

    assert (counts.copied, counts.left) == (2, 1)
    merged = query(store, "SELECT transaction_id FROM retail_transaction ORDER BY 1")
    assert merged == [("T-0",), ("T-2",)]


def test_a_register_merges_its_events_in_its_own_order_behind_those_of_the_store(store, till_1):
    guid = make_customer(till_1, "First", occurred_at=datetime(2026, 11, 20, 9, tzinfo=UTC))
    make_customer(store, "Bo")
    # The clock of the register was set back.
    make_customer(
        till_1,
        "Second",
        guid=guid,
        operation="update",
        occurred_at=datetime(2026, 11, 20, 8, tzinfo=UTC),
    )

    merge(till_1, store)

    names = query(store, "SELECT first_name FROM async_customer ORDER BY replication_counter")
    assert names == [("Bo",), ("First",), ("Second",)]
    assert engine_of(till_1) == "sqlite"
