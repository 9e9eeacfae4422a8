"""The rows of customers that HQ sends to channels: from which tables, and in which columns."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from django.db import transaction
from psycopg2 import sql

from stores.channeldb.exchange import copy
from stores.channeldb.exchange.protocol import TableData, Target
from stores.hqdb.sql import copy_out_text, fetch, fetch_one, listed, run_sql
from stores.hqdb.work_table import WorkTable, query_table
from stores.pipeline.events.kinds import CHILDREN, CUSTOMER, EventKind


class Column(NamedTuple):
    """A column of a channel's table, its PostgreSQL type, and HQ's value for it.

    The value is SQL: `k` is the customer, `r` the row that belongs to it, `m` its GUID.
    """

    name: str
    type: str
    value: str


@dataclass(frozen=True)
class OutboundTable:
    """A table of the channel, and where HQ finds the rows of a customer for it."""

    target: Target
    columns: tuple[Column, ...]
    joined: sql.Composable

    def rows_of(self, customers: WorkTable) -> sql.Composable:
        """The query for the rows of these customers, in the order of the target's columns."""
        return sql.SQL(
            "SELECT {values} FROM {customers} c JOIN customer k ON k.id = c.customer_id {joined}"
        ).format(
            values=listed(sql.SQL(column.value) for column in self.columns),
            customers=customers,
            joined=self.joined,
        )


OWNER = (
    Column("company", "text", "k.company_id"),
    Column("account_number", "text", "k.account_number"),
)


def outbound_table(
    name: str,
    columns: Sequence[Column],
    joined: sql.Composable,
    *,
    key: tuple[str, ...],
    version: str | None = "hq_version",
    immutable: tuple[str, ...] = (),
) -> OutboundTable:
    names, types = [column.name for column in columns], [column.type for column in columns]
    target = Target(name, tuple(names), tuple(types), key, version, immutable)
    return OutboundTable(target, tuple(columns), joined)


def columns_of(kind: EventKind, alias: str) -> list[Column]:
    """The columns that HQ has from the events of a kind, in the row with this alias."""
    return [Column(name, kind.type_of(name), f'{alias}."{name}"') for name in kind.columns]


def outbound_child(kind: EventKind) -> OutboundTable:
    """Addresses, contacts, affiliations or attributes of the customers."""
    has_id_of_its_own = kind.key == kind.conflict
    return outbound_table(
        kind.table,
        [
            *OWNER,
            *columns_of(kind, "r"),
            Column("is_active", "boolean", "r.is_active"),
            Column("hq_version", "bigint", "r.hq_version"),
        ],
        sql.SQL("JOIN {} r ON r.customer_id = k.id").format(sql.Identifier(kind.table)),
        # The name of an affiliation or attribute is unique only within its customer.
        key=kind.key if has_id_of_its_own else ("company", "account_number", *kind.key),
    )


OUTBOUND_CUSTOMER = outbound_table(
    "customer",
    [
        *OWNER,
        Column("async_account", "uuid", "m.async_account"),
        *columns_of(CUSTOMER, "k"),
        Column("is_blocked", "boolean", "k.is_blocked"),
        Column("is_active", "boolean", "k.is_active"),
        Column("hq_version", "bigint", "k.hq_version"),
    ],
    sql.SQL("LEFT JOIN guid_map m ON m.customer_id = k.id AND m.origin = 'created'"),
    key=("company", "account_number"),
    immutable=("async_account",),
)
OUTBOUND_CHILDREN = [outbound_child(kind) for kind in CHILDREN]
OUTBOUND_MAP = outbound_table(
    "account_map",
    [Column("async_account", "uuid", "m.async_account"), *OWNER],
    sql.SQL("JOIN guid_map m ON m.customer_id = k.id"),
    key=("async_account",),
    version=None,
    immutable=("company", "account_number"),
)
OUTBOUND_TABLES = [OUTBOUND_CUSTOMER, *OUTBOUND_CHILDREN, OUTBOUND_MAP]
TARGETS = {table.target.table: table.target for table in OUTBOUND_TABLES}


def read_tables(customers: WorkTable, *, is_first: bool) -> list[TableData]:
    """All that belongs to the customers, as it is at this moment of HQ."""
    return [
        TableData(table.target, copy_out_text(table.rows_of(customers)), is_first)
        for table in OUTBOUND_TABLES
    ]


class SentCustomer(NamedTuple):
    """A customer, by id and account number, in the version that is sent."""

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
            chosen.analyze()
            rows = fetch("SELECT customer_id, account_number, hq_version FROM chosen ORDER BY 1")
            customers = [SentCustomer(*row) for row in rows]
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
        chosen.analyze()
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
