"""Work tables exist within their block, and are gone afterwards, whatever happens in it."""

import pytest
from django.db import transaction
from psycopg2 import sql

from stores.hqdb.sql import fetch_one, run_sql
from stores.hqdb.work_table import empty_table, query_table, session_table


def exists(table: str) -> bool:
    [is_there] = fetch_one("SELECT to_regclass(%s) IS NOT NULL", [f"pg_temp.{table}"])
    return is_there


def test_a_query_table_counts_its_rows_and_can_be_cleared(hq):
    with (
        transaction.atomic(),
        query_table("numbers", "SELECT generate_series(1, %s) AS n", [3]) as numbers,
    ):
        run_sql(sql.SQL("DELETE FROM {} WHERE n = 2").format(numbers))
        assert (numbers.rows, numbers.count()) == (3, 2)

        numbers.clear()
        assert numbers.count() == 0


def test_a_query_table_ends_with_its_block(hq):
    with transaction.atomic():
        with query_table("numbers", "SELECT 1 AS n"):
            assert exists("numbers")

        assert not exists("numbers")


def test_a_table_is_dropped_after_an_error(hq):
    def fail() -> None:
        with transaction.atomic(), empty_table("empty", "n integer"):
            assert exists("empty")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert not exists("empty")


def test_a_session_table_outlives_transactions_but_not_an_error(hq):
    def fail() -> None:
        with session_table("lasting", "n integer") as lasting:
            with transaction.atomic():
                run_sql(sql.SQL("INSERT INTO {} VALUES (1)").format(lasting))
            assert lasting.count() == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert not exists("lasting")
