"""What HQ and the channels hold about good sales that were not posted, to find out why."""

import json
from collections.abc import Sequence
from typing import Any

from django.db import connection
from psycopg2 import sql

from tests.proofs.chaos.observer import EVENTS
from tests.proofs.chaos.places import Place

SALES, ROWS = 3, 20
NAMING = ("async_account", "account_number", "customer_id")
Found = dict[str, list[dict[str, Any]]]


def evidence_of_failed_sales(places: Sequence[Place], bad: set[str]) -> list[dict[str, Any]]:
    """The first good sales that break a rule, and all rows that name their customer, everywhere."""
    failed = at_hq(
        """SELECT t.*, coalesce(m.customer_id, k.id) AS buyer FROM retail_transaction t
             LEFT JOIN guid_map m ON m.async_account = t.async_account
             LEFT JOIN customer k ON k.account_number = t.account_number
            WHERE NOT t.event_id = ANY(%s::uuid[])
              AND EXISTS (SELECT FROM transaction_error e WHERE e.transaction_id = t.id)
            ORDER BY t.id LIMIT %s""",
        [sorted(bad), SALES],
    )
    return [
        {
            "sale": sale,
            "errors": at_hq(
                "SELECT * FROM transaction_error WHERE transaction_id = %s", [sale["id"]]
            ),
            "headquarters": rows_of_customer(sale | {"customer_id": sale["buyer"]}),
            "incidents": at_hq("SELECT * FROM incident ORDER BY id", []),
            "channels": {place.label: rows_at(place, sale) for place in places},
        }
        for sale in failed
    ]


def rows_of_customer(named: dict[str, Any]) -> Found:
    """The rows of HQ's tables that bear the GUID, the account number or the customer."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT c.table_name, c.column_name FROM information_schema.columns c
                 JOIN information_schema.tables t USING (table_schema, table_name)
                WHERE c.table_schema = 'public' AND t.table_type = 'BASE TABLE'
                  AND c.column_name = ANY(%s) AND c.table_name <> 'retail_transaction'""",
            [list(NAMING)],
        )
        columns = cursor.fetchall()
    found = {
        f"{table}.{column}": at_hq(
            sql.SQL("SELECT * FROM {} WHERE {}::text = %s LIMIT %s").format(
                sql.Identifier(table), sql.Identifier(column)
            ),
            [str(named[column]), ROWS],
        )
        for table, column in columns
        if named[column]
    }
    return {name: some for name, some in found.items() if some}


def rows_at(place: Place, sale: dict[str, Any]) -> dict[str, list[str]]:
    """The rows of a channel that bear the GUID or the account number, and how far it is."""
    mark = "?" if place.is_file else "%s"
    found = {}
    with place.snapshot() as cursor:
        for table in (*EVENTS, "account_map", "customer"):
            column = "account_number" if table == "customer" else "async_account"
            cursor.execute(
                f"SELECT * FROM {table} WHERE lower(CAST({column} AS TEXT)) = lower({mark})",  # noqa: S608
                [sale[column] or ""],
            )
            found[table] = [str(row) for row in cursor.fetchall()]
        cursor.execute("SELECT * FROM exchange_state")
        found["exchange_state"] = [str(row) for row in cursor.fetchall()]
    return {name: some for name, some in found.items() if some}


def at_hq(query: str | sql.Composable, parameters: Sequence[Any]) -> list[dict[str, Any]]:
    """The rows of a query as JSON shows them."""
    with connection.cursor() as cursor:
        inner = sql.SQL(query) if isinstance(query, str) else query
        cursor.execute(sql.SQL("SELECT to_jsonb(q)::text FROM ({}) q").format(inner), parameters)
        return [json.loads(text) for (text,) in cursor.fetchall()]
