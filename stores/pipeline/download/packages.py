"""What 1010 sends: which rows of HQ belong to customers, for which tables of a channel.

A batch is read once, at one moment of HQ, for all the databases that lack the same customers.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from django.db import connection, transaction
from psycopg2 import sql

from stores.channeldb.exchange.protocol import Package, Target
from stores.hqdb.sql import copy_out, fetch, prefer_ordered_scan, run_sql
from stores.pipeline import number_journal
from stores.pipeline.chunk_sizes import CUSTOMERS_PER_CHUNK
from stores.pipeline.events.kinds import CHILDREN, CUSTOMER, EventKind


@dataclass(frozen=True)
class OutboundTable:
    """A table of the channel and HQ's query that fills it, for the customers in table sent."""

    target: Target
    query: sql.Composable


def outbound_customer() -> OutboundTable:
    own = CUSTOMER.columns
    columns = ("company", "account_number", "async_account", *own, "is_blocked", "is_active")
    query = sql.SQL(
        """SELECT k.company_id, k.account_number, m.async_account, {}, k.is_blocked, k.is_active,
                  k.hq_version
             FROM sent JOIN customer k ON k.id = sent.customer_id
             LEFT JOIN guid_map m ON m.customer_id = k.id AND m.origin = 'created'"""
    ).format(sql.SQL(", ").join(sql.Identifier("k", column) for column in own))
    types = ("text", "text", "uuid", *map(CUSTOMER.type_of, own), "boolean", "boolean", "bigint")
    target = Target(
        "customer",
        (*columns, "hq_version"),
        types,
        ("company", "account_number"),
        immutable=("async_account",),
    )
    return OutboundTable(target, query)


def outbound_child(kind: EventKind) -> OutboundTable:
    """Addresses, contacts, affiliations or attributes of the customers."""
    query = sql.SQL(
        """SELECT k.company_id, k.account_number, {}, r.is_active, r.hq_version
             FROM sent JOIN customer k ON k.id = sent.customer_id
             JOIN {} r ON r.customer_id = k.id"""
    ).format(
        sql.SQL(", ").join(sql.Identifier("r", column) for column in kind.columns),
        sql.Identifier(kind.table),
    )
    owner = ("company", "account_number")
    columns = (*owner, *kind.columns, "is_active", "hq_version")
    types = ("text", "text", *map(kind.type_of, kind.columns), "boolean", "bigint")
    # Ids of addresses and contacts are unique by themselves; names only within their customer.
    key = kind.key if kind.key == kind.conflict else (*owner, *kind.key)
    return OutboundTable(Target(kind.table, columns, types, key), query)


def outbound_map() -> OutboundTable:
    query = sql.SQL(
        """SELECT m.async_account, k.company_id, k.account_number
             FROM sent JOIN customer k ON k.id = sent.customer_id
             JOIN guid_map m ON m.customer_id = k.id"""
    )
    columns = ("async_account", "company", "account_number")
    types = ("uuid", "text", "text")
    target = Target(
        "account_map",
        columns,
        types,
        ("async_account",),
        version=None,
        immutable=("company", "account_number"),
    )
    return OutboundTable(target, query)


OUTBOUND_TABLES = [outbound_customer(), *map(outbound_child, CHILDREN), outbound_map()]
# SQLite has no types of its own for these; the contract says how they are written.
TUPLE_CASTS = {"uuid": "::text", "date": "::text", "boolean": "::int"}


class Pending(NamedTuple):
    """The next customers that a database lacks, their versions, and whether it has none of them."""

    customers: tuple[int, ...]
    versions: tuple[int, ...]
    is_first: bool


@dataclass(frozen=True)
class CustomerBatch:
    """Customers that some databases lack, in their present versions, and all that is theirs.

    `packages` are the rows for each table, as COPY data under True and as tuples under False, in
    the forms that somebody takes.
    """

    customers: list[int]
    versions: list[int]
    packages: dict[bool, list[Package]]


def read_customer_batches(
    company: str, takers: dict[int, bool], beyond: int
) -> dict[int, CustomerBatch]:
    """What each of a company's databases is to be sent next, of customers beyond an id.

    `takers` says of each database whether it takes COPY data. Databases that lack the same
    customers share one batch; one that lacks none of the next ones has no batch. A number that is
    not in the journal yet stays here: HQ could forget it.
    """
    journaled = number_journal.first_unjournaled(company)
    if journaled < number_journal.first_unissued(company):
        # Somebody died between issuing them and writing them down, or is about to do so. If they
        # cannot be written down, an incident says so, and what has its number goes on.
        with suppress(number_journal.JournalUnusable):
            number_journal.append_missing()
        journaled = number_journal.first_unjournaled(company)
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        same_pending: dict[Pending, list[int]] = {}
        for database, pending in pending_deliveries_of(list(takers), beyond, journaled):
            same_pending.setdefault(pending, []).append(database)
        return {
            database: batch
            for pending, databases in same_pending.items()
            for batch in [
                read_customer_batch(pending, {takers[database] for database in databases})
            ]
            for database in databases
        }


def pending_deliveries_of(
    databases: Sequence[int], beyond: int, journaled: int
) -> list[tuple[int, Pending]]:
    """What each database lacks of the next customers; one that lacks nothing is left out.

    Only the first that each one lacks are looked at, however many there are.
    """
    # LATERAL and LIMIT have each customer looked up by its id: the statistics of an HQ that was at
    # rest expect none here, and a backlog would be compared with itself.
    with prefer_ordered_scan():
        rows = fetch(
            """WITH lacked AS (
                 SELECT d.customer_id, array_agg(b.id) AS databases,
                        array_agg(d.is_first) AS firsts
                   FROM unnest(%(databases)s) b (id), LATERAL (
                        SELECT customer_id, delivered_version = 0 AS is_first FROM delivery
                         WHERE database_id = b.id AND delivered_version < version
                           AND customer_id > %(beyond)s
                         ORDER BY customer_id LIMIT %(limit)s) d
                  GROUP BY d.customer_id),
               upcoming AS (
                 SELECT l.*, k.hq_version
                   FROM lacked l, LATERAL (
                        SELECT hq_version, number FROM customer WHERE id = l.customer_id LIMIT 1) k
                  WHERE k.number IS NULL OR k.number < %(journaled)s
                  ORDER BY l.customer_id LIMIT %(limit)s)
               SELECT d.id, array_agg(n.customer_id ORDER BY n.customer_id),
                      array_agg(n.hq_version ORDER BY n.customer_id), bool_and(d.is_first)
                 FROM upcoming n, unnest(n.databases, n.firsts) d (id, is_first)
                GROUP BY d.id""",
            {
                "databases": list(databases),
                "beyond": beyond,
                "limit": CUSTOMERS_PER_CHUNK,
                "journaled": journaled,
            },
        )
    return [
        (database, Pending(tuple(customers), tuple(versions), is_first))
        for database, customers, versions, is_first in rows
    ]


def read_customer_batch(pending: Pending, formats: set[bool]) -> CustomerBatch:
    """All that belongs to the customers, in each of the forms that somebody takes."""
    run_sql(
        "CREATE TEMP TABLE sent ON COMMIT DROP AS SELECT unnest(%s::bigint[]) AS customer_id",
        [list(pending.customers)],
    )
    run_sql("ANALYZE sent")
    packages = {
        as_copy: [
            package(table, as_copy=as_copy, is_first=pending.is_first) for table in OUTBOUND_TABLES
        ]
        for as_copy in formats
    }
    run_sql("DROP TABLE sent")
    return CustomerBatch(list(pending.customers), list(pending.versions), packages)


def package(table: OutboundTable, *, as_copy: bool, is_first: bool) -> Package:
    """The rows for one table, in the form that the engine takes."""
    if as_copy:
        return Package(table.target, data=copy_out(table.query), is_first=is_first)
    columns: list[Any] = [
        sql.SQL("{}" + TUPLE_CASTS.get(name, "")).format(sql.Identifier(column))
        for column, name in zip(table.target.columns, table.target.types, strict=True)
    ]
    query = sql.SQL("SELECT {} FROM ({}) AS sent ({})").format(
        sql.SQL(", ").join(columns),
        table.query,
        sql.SQL(", ").join(map(sql.Identifier, table.target.columns)),
    )
    return Package(table.target, rows=fetch(query))
