"""Lists of sales stay quick with ten million of them: what few rows have is found by an index.

Newest first, PostgreSQL would otherwise read the table backwards until a page is full. The tables
are empty here, so sequential scans are switched off for the plan.
"""

from contextlib import contextmanager

import pytest
from django.db import connection
from django.http import QueryDict

from stores.web.lists.orders import OrderFilter, all_orders
from stores.web.lists.transactions import TransactionFilter, all_transactions
from tests.support.plans import never_analyzed, plan_of


@contextmanager
def without_seq_scans():
    with never_analyzed(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        yield


def plan_of_page(rows):
    with without_seq_scans():
        return rows[:26].explain()


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("date=2026-03-01", "transaction_of_day"),
        ("validation=none", "transaction_not_valid"),
        ("validation=error", "transaction_not_valid"),
        ("order=failed", "order_failed"),
        ("order=editing", "order_failed"),
        ("reason=not_ordered", "order_waiting"),
        ("posted=open", "transaction_not_posted"),
        ("posted=excluded", "transaction_voided"),
        ("q=T-1", "a_transaction_is_kept_once"),
        ("q=T-1", "transaction_receipt"),
        ("q=T-1", "transaction_confirmation"),
        ("q=T-1", "transaction_of_customer"),
    ],
)
def test_a_filter_of_transactions_uses_an_index(hq, query, index):
    filters = TransactionFilter(QueryDict(query), all_transactions())

    assert index in plan_of_page(filters.qs)


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("state=on_hold", "order_on_hold"),
        ("state=cancelled", "order_cancelled"),
        ("q=SO-1", "an_order_number_is_issued_once"),
        ("q=SO-1", "one_order_per_confirmation_number"),
        ("q=SO-1", "an_invoice_number_is_issued_once"),
    ],
)
def test_a_filter_of_orders_uses_an_index(hq, query, index):
    filters = OrderFilter(QueryDict(query), all_orders())

    assert index in plan_of_page(filters.qs)


def test_the_excluded_sales_of_a_day_use_indexes(hq):
    with without_seq_scans(), connection.cursor() as cursor:
        # In an empty table they are as cheap as those that the view is meant to use.
        cursor.execute("DROP INDEX transaction_of_day, transaction_of_channel")
        plan = plan_of(
            "SELECT * FROM excluded_sale WHERE channel_id = 1 AND business_date = '2026-03-01'"
        )

    assert "transaction_open" in plan
    assert "prepayment_open" in plan
    assert "order_without_payment" in plan
