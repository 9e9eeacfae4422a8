"""The planner is told of tables that grew since it last looked."""

import pytest

from stores.hqdb.sql import fetch_one, run_sql
from stores.hqdb.statistics import analyze_changed_tables
from stores.models import Company

ESTIMATED_ROWS = "SELECT reltuples::bigint FROM pg_class WHERE relname = 'company'"


@pytest.fixture
def grown_companies(hq) -> int:
    """1,500 companies that no statistics tell of; returns how many."""
    run_sql("ANALYZE company")
    Company.objects.bulk_create(Company(code=f"{number:04}") for number in range(1500))
    flush_counts()
    return 1500


def flush_counts() -> None:
    """Have PostgreSQL show now how many rows changed; by itself it does so each second."""
    run_sql("SELECT pg_stat_force_next_flush()")
    run_sql("SELECT pg_stat_clear_snapshot()")


def test_a_table_that_grew_is_analyzed_once(grown_companies):
    assert fetch_one(ESTIMATED_ROWS)[0] == 0

    assert "company" in analyze_changed_tables()

    assert fetch_one(ESTIMATED_ROWS)[0] == grown_companies
    flush_counts()
    assert "company" not in analyze_changed_tables()
