"""Which rows of HQ belong to customers, for which tables of a channel, and how they are read."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from django.db import transaction
from psycopg2 import sql

from stores.channeldb.exchange import copy
from stores.channeldb.exchange.protocol import TableData, Target
from stores.hqdb.sql import copy_out_text, fetch, fetch_one, identifiers, run_sql
from stores.hqdb.work_table import WorkTable, query_table
from stores.pipeline.events.kinds import CHILDREN, CUSTOMER, EventKind


@dataclass(frozen=True)
class OutboundTable:
    """A table of the channel, and HQ's query for the rows of customers, by their `customer_id`."""

    target: Target
    rows_of: Callable[[WorkTable], sql.Composable]


def outbound_customer() -> OutboundTable:
    owner, own = ("company", "account_number"), CUSTOMER.columns

    def rows_of(customers: WorkTable) -> sql.Composable:
        return sql.SQL(
            """SELECT k.company_id, k.account_number, m.async_account, {columns}, k.is_blocked,
                      k.is_active, k.hq_version
                 FROM {customers} c JOIN customer k ON k.id = c.customer_id
                 LEFT JOIN guid_map m ON m.customer_id = k.id AND m.origin = 'created'"""
        ).format(columns=identifiers(own, of="k"), customers=customers.identifier)

    target = Target(
        "customer",
        (*owner, "async_account", *own, "is_blocked", "is_active", "hq_version"),
        ("text", "text", "uuid", *map(CUSTOMER.type_of, own), "boolean", "boolean", "bigint"),
        owner,
        immutable=("async_account",),
    )
    return OutboundTable(target, rows_of)


def outbound_child(kind: EventKind) -> OutboundTable:
    """Addresses, contacts, affiliations or attributes of the customers."""

    def rows_of(customers: WorkTable) -> sql.Composable:
        return sql.SQL(
            """SELECT k.company_id, k.account_number, {columns}, r.is_active, r.hq_version
                 FROM {customers} c JOIN customer k ON k.id = c.customer_id
                 JOIN {table} r ON r.customer_id = k.id"""
        ).format(
            columns=identifiers(kind.columns, of="r"),
            customers=customers.identifier,
            table=sql.Identifier(kind.table),
        )

    owner = ("company", "account_number")
    columns = (*owner, *kind.columns, "is_active", "hq_version")
    types = ("text", "text", *map(kind.type_of, kind.columns), "boolean", "bigint")
    # Ids of addresses and contacts are unique by themselves; names only within their customer.
    key = kind.key if kind.key == kind.conflict else (*owner, *kind.key)
    return OutboundTable(Target(kind.table, columns, types, key), rows_of)


def outbound_map() -> OutboundTable:
    def rows_of(customers: WorkTable) -> sql.Composable:
        return sql.SQL(
            """SELECT m.async_account, k.company_id, k.account_number
                 FROM {customers} c JOIN customer k ON k.id = c.customer_id
                 JOIN guid_map m ON m.customer_id = k.id"""
        ).format(customers=customers.identifier)

    target = Target(
        "account_map",
        ("async_account", "company", "account_number"),
        ("uuid", "text", "text"),
        ("async_account",),
        version=None,
        immutable=("company", "account_number"),
    )
    return OutboundTable(target, rows_of)


OUTBOUND_TABLES = [outbound_customer(), *map(outbound_child, CHILDREN), outbound_map()]
TARGETS = {table.target.table: table.target for table in OUTBOUND_TABLES}


def read_tables(customers: WorkTable, *, is_first: bool) -> list[TableData]:
    """All that belongs to the customers, as it is at this moment of HQ."""
    return [
        TableData(table.target, copy_out_text(table.rows_of(customers)), is_first)
        for table in OUTBOUND_TABLES
    ]


class SentCustomer(NamedTuple):
    id: int
    account: str
    version: int


class ChosenCustomers(NamedTuple):
    """Single customers in their present versions, with all that belongs to them."""

    customers: list[SentCustomer]
    tables: list[TableData]


def read_customers(ids: Sequence[int]) -> ChosenCustomers:
    """Read single customers, of one moment of HQ."""
    with transaction.atomic():
        run_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        with query_table(
            "chosen",
            """SELECT id AS customer_id, account_number, hq_version FROM customer
                WHERE id = ANY(%s) ORDER BY id""",
            [list(ids)],
        ) as chosen:
            run_sql("ANALYZE chosen")
            customers = [SentCustomer(*row) for row in fetch("SELECT * FROM chosen ORDER BY 1")]
            return ChosenCustomers(customers, read_tables(chosen, is_first=False))


def count_rows_of(company: str) -> dict[str, int]:
    """How many rows a channel of the company would be sent of each table, from the beginning."""
    with (
        transaction.atomic(),
        query_table(
            "chosen",
            """SELECT id AS customer_id FROM customer
            WHERE company_id = %s AND change_no IS NOT NULL""",
            [company],
        ) as chosen,
    ):
        run_sql("ANALYZE chosen")
        return {
            table.target.table: fetch_one(
                sql.SQL("SELECT count(*) FROM ({}) rows").format(table.rows_of(chosen))
            )[0]
            for table in OUTBOUND_TABLES
        }


def accounts_in(tables: Sequence[TableData]) -> list[str]:
    """The accounts of the customers that the tables bring."""
    [customers] = [table for table in tables if table.target.table == CUSTOMER.table]
    return [account for _, account in rows_by_account(customers)]


def select_accounts(tables: Sequence[TableData], accounts: Collection[str]) -> list[TableData]:
    """The rows that belong to some accounts."""
    chosen = set(accounts)
    return [
        replace(
            table,
            data=b"".join(row for row, account in rows_by_account(table) if account in chosen),
        )
        for table in tables
    ]


def rows_by_account(table: TableData) -> list[tuple[bytes, str]]:
    """Each row, and the account that it belongs to."""
    place = table.target.columns.index("account_number")
    return [
        (row, copy.row_values(row, table.target.types, binary=False)[place])
        for row in copy.split_rows(table.data, binary=False)
    ]
