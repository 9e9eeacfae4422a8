"""Statements of the conversion look rows up one by one, also before they were counted.

After a large load the database knows nothing of the new rows until autovacuum has looked. A plan
that compares all of them with all customers of a chunk is right then by its estimates, and takes
minutes.
"""

import pytest

from stores.hqdb.sql import prefer_index_scans, run_sql
from stores.hqdb.work_table import WorkTable, empty_table
from stores.pipeline.convert.chunk import applied_history, history_query
from stores.pipeline.convert.concurrent_edits import concurrent_query
from stores.pipeline.events.kinds import ADDRESS, EVENT_KINDS
from tests.support.plans import never_analyzed, plan_of

MANY = 5_000


@pytest.fixture
def customers(hq):
    """The work table of a chunk's events, at an HQ that was never analyzed."""
    with (
        never_analyzed(),
        prefer_index_scans(),
        empty_table("claimed_event", "customer_id bigint") as table,
    ):
        yield table


@pytest.mark.parametrize("kind", EVENT_KINDS, ids=lambda kind: kind.noun)
def test_a_history_looks_up_each_guid_and_account_of_a_customer(customers, kind):
    fill(customers)

    plan = plan_of(history_query(kind, customers))

    assert "Index Cond: (customer_id = known.customer_id)" in plan
    assert "Index Cond: (id = known_1.customer_id)" in plan
    assert "Join Filter: (known" not in plan


def test_a_history_is_searched_by_customer(customers):
    with applied_history(ADDRESS, customers) as history:
        fill(history)
        plan = plan_of(
            "SELECT EXISTS (SELECT FROM event_history event WHERE event.customer_id = claimed.id)"
            " FROM generate_series(1, 5000) AS claimed (id)"
        )

    assert "event_history_customer_id_idx" in plan


def test_concurrent_edits_are_looked_for_customer_by_customer(customers):
    with (
        applied_history(ADDRESS, customers) as history,
        empty_table("edited_customer", "customer_id bigint") as several,
    ):
        fill(history)
        fill(several)
        plan = plan_of(concurrent_query(ADDRESS, several, history))

    assert "Index Cond: (customer_id = several.customer_id)" in plan
    assert "Join Filter" not in plan


def fill(table: WorkTable) -> None:
    run_sql("INSERT INTO {table} (customer_id) SELECT generate_series(1, %s)", [MANY], table=table)
