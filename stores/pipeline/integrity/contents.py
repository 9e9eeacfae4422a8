"""Compare the rows that channels have of customers with HQ's rows.

The rows of a table are divided into 256 buckets by the hash of their key. First both sides compute
the fingerprint of each bucket: the number of rows, and the sum of the hashes of their contents.
Only the rows of buckets with different fingerprints are read, as hashes too, and compared one by
one. Compared are the customers that a channel holds: it says that it has their latest change. The
map of GUIDs is compared elsewhere.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import IO, NamedTuple

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg2 import sql

from stores.channeldb.exchange.protocol import Target
from stores.hqdb.files import load
from stores.hqdb.sql import copy_stream, fetch, identifiers, listed, run_sql
from stores.hqdb.work_table import WorkTable, query_table, session_table
from stores.models import ChannelDatabase
from stores.pipeline.download.outbound import OUTBOUND_CHILDREN, OUTBOUND_CUSTOMER, OutboundTable
from stores.pipeline.integrity.fingerprints import (
    Fingerprints,
    add_row,
    count_rows_in,
    differing_buckets,
    parse_fingerprints,
)
from stores.pipeline.integrity.sqlite_values import LENIENT_READERS

CONTENT_TABLES = [OUTBOUND_CUSTOMER, *OUTBOUND_CHILDREN]
HASHED_ROWS = load(__file__, "_hashed_rows")
FINGERPRINTS = load(__file__, "fingerprints")
WRONG_ROWS = load(__file__, "wrong_rows")
ROWS_IN_BUCKETS = load(__file__, "rows_in_buckets")
HELD_ROW_COLUMNS = """database_id bigint, "table" text, key text, content text, company text,
    account_number text, part text, hq_version bigint, is_active boolean"""
HELD_BUCKET_COLUMNS = """database_id bigint, "table" text, bucket integer"""
# The customers that each channel holds. With OFFSET 0 behind it, the query is planned apart from
# what it is joined with: to plan so many tables at once takes long.
HELD_CUSTOMERS = """
    SELECT seen.database_id, customer.id AS customer_id
      FROM {channels} seen
      JOIN channel_database ON channel_database.id = seen.database_id
      JOIN channel ON channel.id = channel_database.channel_id
      JOIN customer ON customer.company_id = channel.company_id
                   AND customer.change_no <= seen.position
     WHERE NOT channel_database.starts_over
       AND NOT EXISTS (SELECT FROM download_exception exception
                        WHERE exception.database_id = seen.database_id
                          AND exception.customer_id = customer.id
                          AND (exception.settled_at IS NULL
                               OR exception.settled_at > seen.read_at))"""
# The same with the lowest version that each channel should have.
LATEST_VERSIONS = f"""
    SELECT held.database_id, customer.id AS customer_id, customer.hq_version AS version,
           true AS is_latest
      FROM ({HELD_CUSTOMERS} OFFSET 0) held JOIN customer ON customer.id = held.customer_id"""  # noqa: S608
# Customers that have changed again are added, with the version that was delivered last, unless an
# incident has happened since.
HELD_VERSIONS = f"""{LATEST_VERSIONS}
     UNION ALL
    SELECT seen.database_id, customer.id AS customer_id, delivered.version, false AS is_latest
      FROM {{channels}} seen
      JOIN channel_database ON channel_database.id = seen.database_id
      JOIN channel ON channel.id = channel_database.channel_id
      JOIN customer ON customer.company_id = channel.company_id
                   AND customer.change_no > seen.position
     CROSS JOIN LATERAL (
           SELECT max(delivery.version) AS version FROM customer_delivery delivery
            WHERE delivery.database_id = seen.database_id AND delivery.customer_id = customer.id
              AND delivery.change_no <= seen.position
              AND (delivery.to_no IS NULL OR delivery.to_no <= seen.position)
              AND delivery.delivered_at < seen.read_at
              AND NOT EXISTS (SELECT FROM incident
                               WHERE incident.database_id = seen.database_id
                                 AND incident.last_seen_at >= delivery.earliest_at)) delivered
     WHERE delivered.version IS NOT NULL AND NOT channel_database.starts_over
       AND NOT EXISTS (SELECT FROM download_exception exception
                        WHERE exception.database_id = seen.database_id
                          AND exception.customer_id = customer.id
                          AND (exception.settled_at IS NULL
                               OR exception.settled_at > seen.read_at))"""  # noqa: S608
# The customers that a channel says it has, but that it lacks, or their version or a GUID.
NOT_ARRIVED = f"""
    SELECT DISTINCT held.database_id, customer.account_number, customer.id AS customer_id
      FROM ({HELD_VERSIONS}) held JOIN customer ON customer.id = held.customer_id
      LEFT JOIN guid_map guid ON guid.customer_id = customer.id
      LEFT JOIN {{map}} mapped
             ON mapped.database_id = held.database_id
            AND mapped.async_account = guid.async_account
      LEFT JOIN {{customers}} shown
             ON shown.database_id = held.database_id AND shown.company = customer.company_id
            AND shown.account_number = customer.account_number
     WHERE coalesce(shown.hq_version, -1) < held.version
        OR (held.is_latest AND guid.async_account IS NOT NULL AND mapped.async_account IS NULL)"""  # noqa: S608
SENT = sql.SQL(
    f"SELECT customer_id FROM ({HELD_CUSTOMERS}) held WHERE database_id = %(database)s"  # noqa: S608
)
# What stands for NULL and between two values in a text that is hashed, and the same in SQL.
NULL_MARK, NULL_LITERAL = b"\x01", sql.SQL(r"E'\x01'")
SEPARATOR, SEPARATOR_LITERAL = b"\x1f", sql.SQL(r"E'\x1f'")


@dataclass(frozen=True)
class HeldContents:
    """Work tables: the buckets with different fingerprints, and the channels' rows in these."""

    channels: WorkTable
    rows: WorkTable
    buckets: WorkTable


class WrongRow(NamedTuple):
    """A row of a channel that differs from HQ's, or is extra: HQ never sent it.

    `customer` is None if HQ has no such account. `part` is the id of an address or contact, the
    name of an affiliation or attribute, or the account number. `version` is that of the channel.
    """

    database: int
    table: str
    account: str
    part: str
    customer: int | None
    is_extra: bool
    version: int | None


def text_of(column: str, kind: str) -> sql.Composable:
    """Return a column of `row` as a text that is the same on both engines and in HQ."""
    forms = {"boolean": "{}::int::text", "date": "to_char({}, 'YYYY-MM-DD')"}
    value = sql.SQL(forms.get(kind, "{}::text")).format(sql.Identifier("row", column))
    return sql.SQL("coalesce({}, {})").format(value, NULL_LITERAL)


def hashed_row_cte(target: Target, rows: sql.Composable) -> sql.Composed:
    """Return the CTE `hashed_row` of the rows of a table. See its file."""
    kinds = dict(zip(target.columns, target.types, strict=True))
    return HASHED_ROWS.format(
        name=sql.Literal(target.table),
        key=joined_texts(target, target.key),
        content=joined_texts(target, target.columns),
        part=text_of(target.key[-1], kinds[target.key[-1]]),
        rows=rows,
    )


def joined_texts(target: Target, columns: Sequence[str]) -> sql.Composed:
    """Return columns of `row` as one text, which joined_values() makes of the same values."""
    kinds = dict(zip(target.columns, target.types, strict=True))
    return sql.SQL("concat_ws({}, {})").format(
        SEPARATOR_LITERAL, listed(text_of(column, kinds[column]) for column in columns)
    )


@contextmanager
def held_contents(channels: WorkTable) -> Iterator[HeldContents]:
    """Make the work tables, which are empty."""
    with (
        session_table("held_row", HELD_ROW_COLUMNS) as rows,
        session_table("held_bucket", HELD_BUCKET_COLUMNS) as buckets,
    ):
        yield HeldContents(channels, rows, buckets)


@contextmanager
def sent_customers(channels: WorkTable, database: int) -> Iterator[WorkTable]:
    """Make a work table of the customers that a database holds, with the column customer_id."""
    with query_table("sent", SENT, {"database": database}, channels=channels) as sent:
        sent.analyze()
        yield sent


# ------------------------------------------------------------------------ the channel


def read_contents(
    channel: BaseDatabaseWrapper, database: ChannelDatabase, held: HeldContents
) -> int:
    """Compare all fingerprints, and copy the channel's rows into `held` where they differ.

    Return how many rows were compared.
    """
    with transaction.atomic(), sent_customers(held.channels, database.pk) as sent:
        return sum(read_table(channel, database, table, held, sent) for table in CONTENT_TABLES)


def read_table(
    channel: BaseDatabaseWrapper,
    database: ChannelDatabase,
    table: OutboundTable,
    held: HeldContents,
    sent: WorkTable,
) -> int:
    """Compare the fingerprints of one table. Return how many rows the channel has in it."""
    theirs = table_fingerprints(channel, table)
    ours = parse_fingerprints(fetch(fingerprint_query(table.target, rows_of_hq(table, sent))))
    if buckets := differing_buckets(theirs, ours):
        copy_stream(held.rows, partial(write_rows, channel, database, table.target, buckets))
        run_sql(
            "INSERT INTO {held_buckets} SELECT %s, %s, unnest(%s::int[])",
            [database.pk, table.target.table, buckets],
            held_buckets=held.buckets,
        )
    return count_rows_in(theirs)


def rows_of_hq(table: OutboundTable, sent: WorkTable) -> sql.Composable:
    """Return the query for HQ's rows of these customers, as the channel should have them."""
    return sql.SQL("(SELECT * FROM ({}) sent_rows ({}))").format(
        table.rows_of(sent), identifiers(table.target.columns)
    )


def fingerprint_query(target: Target, rows: sql.Composable) -> sql.Composed:
    return FINGERPRINTS.format(hashed_row=hashed_row_cte(target, rows))


def table_fingerprints(channel: BaseDatabaseWrapper, table: OutboundTable) -> Fingerprints:
    if channel.vendor == "postgresql":
        with channel.cursor() as cursor:
            cursor.execute(fingerprint_query(table.target, in_channel(table.target)))
            return parse_fingerprints(cursor.fetchall())
    fingerprints: Fingerprints = {}
    for bucket, content, _ in sqlite_rows(channel, table.target):
        add_row(fingerprints, bucket, int(content[:8], 16))
    return fingerprints


def in_channel(target: Target) -> sql.Composable:
    return sql.SQL("public.{}").format(sql.Identifier(target.table))


def sqlite_rows(
    channel: BaseDatabaseWrapper, target: Target
) -> Iterator[tuple[int, str, dict[str, bytes | None]]]:
    """Yield the bucket of each row of a table, the hash of its content, and its values."""
    columns = ", ".join(f'CAST("{column}" AS BLOB)' for column in target.columns)
    for values in channel.connection.execute(
        f'SELECT {columns} FROM "{target.table}"'  # noqa: S608 - our own names
    ):
        row = dict(zip(target.columns, values, strict=True))
        content = hashlib.sha256(joined_values(values)).hexdigest()
        key = hashlib.sha256(joined_values([row[column] for column in target.key])).digest()
        yield key[0], content, row


def joined_values(values: Iterable[bytes | None]) -> bytes:
    return SEPARATOR.join(NULL_MARK if value is None else value for value in values)


def write_rows(
    channel: BaseDatabaseWrapper,
    database: ChannelDatabase,
    target: Target,
    buckets: Sequence[int],
    rows: IO[bytes],
) -> None:
    """Write the channel's rows in some buckets as COPY data for the work table held_row."""
    if channel.vendor == "postgresql":
        query = rows_in_buckets(target, database.pk, buckets)
        with channel.cursor() as cursor:
            cursor.copy_expert(sql.SQL("COPY ({}) TO STDOUT").format(query), rows)
        return
    read_text, read_number = LENIENT_READERS["text"], LENIENT_READERS["bigint"]
    for bucket, content, row in sqlite_rows(channel, target):
        if bucket not in buckets:
            continue
        fields = [
            str(database.pk),
            target.table,
            read_text(joined_values([row[column] for column in target.key])),
            content,
            read_text(row["company"]),
            read_text(row["account_number"]),
            read_text(row[target.key[-1]]),
            read_number(row["hq_version"]),
            LENIENT_READERS["boolean"](row["is_active"]),
        ]
        rows.write("\t".join(fields).encode() + b"\n")


def rows_in_buckets(target: Target, database: int, buckets: Sequence[int]) -> sql.Composed:
    return ROWS_IN_BUCKETS.format(
        database=sql.Literal(database),
        hashed_row=hashed_row_cte(target, in_channel(target)),
        buckets=sql.Literal(list(buckets)),
    )


# ---------------------------------------------------------------------------- looking


def find_wrong_rows(database: int, held: HeldContents) -> list[WrongRow]:
    """Return the rows that differ between HQ and the channel, of those that `held` contains."""
    wrong = []
    with sent_customers(held.channels, database) as sent:
        for table in CONTENT_TABLES:
            rows = fetch(
                wrong_statement(table, held, sent),
                {"database": database, "table": table.target.table},
            )
            wrong += [WrongRow(database, table.target.table, *row) for row in rows]
    return wrong


def wrong_statement(table: OutboundTable, held: HeldContents, sent: WorkTable) -> sql.Composed:
    return WRONG_ROWS.format(
        hashed_row=hashed_row_cte(table.target, rows_of_hq(table, sent)),
        held_rows=held.rows,
        held_buckets=held.buckets,
        sent=sent,
    )
