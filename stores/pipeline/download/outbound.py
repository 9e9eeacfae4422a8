"""The rows that HQ sends to channels for its customers: from which tables, in which columns.

A customer takes one row of each table, or one for each of its addresses, contacts and so on. All
rows belong to a customer and carry its account number.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from django.db import transaction
from psycopg2 import sql

from stores.channeldb.exchange import copy
from stores.channeldb.exchange.protocol import TableData, Target
from stores.hqdb.sql import copy_out_text, fetch, fetch_value, listed, run_sql
from stores.hqdb.work_table import WorkTable, query_table
from stores.pipeline.events.kinds import CHILDREN, CUSTOMER, EventKind


class Column(NamedTuple):
    """A column of a channel's table, its PostgreSQL type, and the SQL of HQ's value for it.

    The SQL may name the `customer`, its `guid`, and the `row` that belongs to it.
    """

    name: str
    type: str
    value: str


@dataclass(frozen=True)
class OutboundTable:
    """A table of the channel, and how HQ finds its rows: `join` adds them to `customer`."""

    target: Target
    values: tuple[str, ...]
    join: sql.Composable

    def rows_of(self, customers: WorkTable) -> sql.Composable:
        """Return the query for the rows of these customers, with the target's columns in order."""
        return sql.SQL(
            """SELECT {values}
                 FROM {customers} chosen JOIN customer ON customer.id = chosen.customer_id {join}"""
        ).format(values=listed(map(sql.SQL, self.values)), customers=customers, join=self.join)


def outbound_table(
    name: str,
    columns: Sequence[Column],
    join: sql.Composable,
    *,
    key: tuple[str, ...],
    version: str | None = "hq_version",
    immutable: tuple[str, ...] = (),
) -> OutboundTable:
    names, types, values = zip(*columns, strict=True)
    return OutboundTable(Target(name, names, types, key, version, immutable), values, join)


def columns_of(kind: EventKind, table: str) -> list[Column]:
    """Return the columns that HQ has from the events of a kind."""
    return [Column(name, kind.type_of(name), f'{table}."{name}"') for name in kind.columns]


ACCOUNT = (
    Column("company", "text", "customer.company_id"),
    Column("account_number", "text", "customer.account_number"),
)
ACCOUNT_KEY = ("company", "account_number")


def outbound_child(kind: EventKind) -> OutboundTable:
    """Return the table of the customers' addresses, contacts, affiliations or attributes."""
    has_unique_id = kind.key == kind.conflict
    return outbound_table(
        kind.table,
        [
            *ACCOUNT,
            *columns_of(kind, "row"),
            Column("is_active", "boolean", "row.is_active"),
            Column("hq_version", "bigint", "row.hq_version"),
        ],
        sql.SQL("JOIN {} row ON row.customer_id = customer.id").format(sql.Identifier(kind.table)),
        # The name of an affiliation or attribute is unique only within its customer.
        key=kind.key if has_unique_id else (*ACCOUNT_KEY, *kind.key),
    )


OUTBOUND_CUSTOMER = outbound_table(
    "customer",
    [
        *ACCOUNT,
        Column("async_account", "uuid", "guid.async_account"),
        *columns_of(CUSTOMER, "customer"),
        Column("is_blocked", "boolean", "customer.is_blocked"),
        Column("is_active", "boolean", "customer.is_active"),
        Column("hq_version", "bigint", "customer.hq_version"),
    ],
    sql.SQL(
        "LEFT JOIN guid_map guid ON guid.customer_id = customer.id AND guid.origin = 'created'"
    ),
    key=ACCOUNT_KEY,
    immutable=("async_account",),
)
OUTBOUND_CHILDREN = [outbound_child(kind) for kind in CHILDREN]
OUTBOUND_MAP = outbound_table(
    "account_map",
    [Column("async_account", "uuid", "guid.async_account"), *ACCOUNT],
    sql.SQL("JOIN guid_map guid ON guid.customer_id = customer.id"),
    key=("async_account",),
    version=None,
    immutable=ACCOUNT_KEY,
)
OUTBOUND_TABLES = [OUTBOUND_CUSTOMER, *OUTBOUND_CHILDREN, OUTBOUND_MAP]
TARGETS = {table.target.table: table.target for table in OUTBOUND_TABLES}


def read_tables(customers: WorkTable, *, is_first: bool) -> list[TableData]:
    """Read all rows of the customers, as the current transaction sees them."""
    return [
        TableData(table.target, copy_out_text(table.rows_of(customers)), is_first)
        for table in OUTBOUND_TABLES
    ]


class SentCustomer(NamedTuple):
    """The id and account number of a customer, and the version that is sent."""

    id: int
    account: str
    version: int


class SingleCustomers(NamedTuple):
    """Customers that are sent outside of packages, and all their rows."""

    customers: list[SentCustomer]
    tables: list[TableData]


def read_customers(ids: Sequence[int]) -> SingleCustomers:
    """Read single customers in their present versions, all as of one moment."""
    with transaction.atomic():
        run_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        with query_table(
            "chosen",
            """SELECT id AS customer_id, account_number, hq_version FROM customer
                WHERE id = ANY(%s) ORDER BY id""",
            [list(ids)],
        ) as chosen:
            chosen.analyze()
            rows = fetch("SELECT customer_id, account_number, hq_version FROM chosen ORDER BY 1")
            customers = [SentCustomer(*row) for row in rows]
            return SingleCustomers(customers, read_tables(chosen, is_first=False))


def count_rows_of(company: str) -> dict[str, int]:
    """Count the rows of each table that a channel without any customer would be sent."""
    with (
        transaction.atomic(),
        query_table(
            "chosen",
            """SELECT id AS customer_id FROM customer
                WHERE company_id = %s AND change_no IS NOT NULL""",
            [company],
        ) as chosen,
    ):
        chosen.analyze()
        return {
            table.target.table: fetch_value(
                sql.SQL("SELECT count(*) FROM ({}) rows").format(table.rows_of(chosen))
            )
            for table in OUTBOUND_TABLES
        }


def accounts_in(tables: Sequence[TableData]) -> list[str]:
    """Return the account numbers of the customers in the tables."""
    [customers] = [table for table in tables if table.target.table == CUSTOMER.table]
    return [account for _, account in rows_by_account(customers)]


def select_accounts(tables: Sequence[TableData], accounts: Collection[str]) -> list[TableData]:
    """Return the tables with only the rows of these accounts."""
    chosen = set(accounts)
    selected = []
    for table in tables:
        rows = [row for row, account in rows_by_account(table) if account in chosen]
        selected.append(replace(table, data=b"".join(rows)))
    return selected


def rows_by_account(table: TableData) -> Iterator[tuple[bytes, str]]:
    """Yield each row of a table with its account number."""
    position = table.target.columns.index("account_number")
    for row in copy.split_rows(table.data, binary=False):
        values = copy.row_values(row, table.target.types, binary=False)
        yield row, values[position]
