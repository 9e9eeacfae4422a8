"""What channels hold of customers and what belongs to them, compared with HQ's rows as they are.

Both sides tell their rows as 256 fingerprints, by the hash of the key: how many, and the sum of
the hashes of what they say. Only where these differ are the rows read, as hashes too. Compared is
what a database says it has, with no newer version pending. The map of GUIDs is compared by itself.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, Any, NamedTuple

from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg2 import sql

from stores.channeldb.exchange.protocol import Target
from stores.hqdb.files import load
from stores.hqdb.sql import Row, fetch, identifiers, listed, run_sql
from stores.hqdb.work_table import WorkTable, query_table, session_table
from stores.models import ChannelDatabase
from stores.pipeline.download.outbound import (
    OUTBOUND_CHILDREN,
    OUTBOUND_CUSTOMER,
    OutboundTable,
)
from stores.pipeline.integrity.sqlite_values import LENIENT_READERS

CONTENT_TABLES = [OUTBOUND_CUSTOMER, *OUTBOUND_CHILDREN]
# What a copy between two databases may hold in memory.
IN_MEMORY = 1 << 24
HASHED_ROWS = load(__file__, "_hashed_rows")
FINGERPRINTS = load(__file__, "fingerprints")
WRONG_ROWS = load(__file__, "wrong_rows")
ROWS_IN_BUCKETS = load(__file__, "rows_in_buckets")
HELD_ROW_COLUMNS = """database_id bigint, "table" text, key text, content text, company text,
    account_number text, part text, hq_version bigint, is_active boolean"""
HELD_BUCKET_COLUMNS = """database_id bigint, "table" text, bucket integer"""
# Customers of whom each channel says that it has their latest change.
HELD_CUSTOMERS = """
    SELECT c.database_id, k.id AS customer_id
      FROM {channels} c JOIN channel_database b ON b.id = c.database_id
      JOIN channel h ON h.id = b.channel_id
      JOIN customer k ON k.company_id = h.company_id AND k.change_no <= c.position
     WHERE NOT b.starts_over
       AND NOT EXISTS (SELECT FROM download_exception e
                        WHERE e.database_id = b.id AND e.customer_id = k.id
                          AND (e.settled_at IS NULL OR e.settled_at > c.read_at))"""
# The same with the version that each channel should have at least, also of customers who changed
# again since: the latest that was delivered, unless something happened to the database later.
HELD_VERSIONS = f"""
    SELECT held.database_id, k.id AS customer_id, k.hq_version AS version, true AS is_latest
      FROM ({HELD_CUSTOMERS}) held JOIN customer k ON k.id = held.customer_id
     UNION ALL
    SELECT c.database_id, k.id, delivered.version, false
      FROM {{channels}} c JOIN channel_database b ON b.id = c.database_id
      JOIN channel h ON h.id = b.channel_id
      JOIN customer k ON k.company_id = h.company_id AND k.change_no > c.position
     CROSS JOIN LATERAL (
           SELECT max(d.version) AS version FROM customer_delivery d
            WHERE d.database_id = b.id AND d.customer_id = k.id AND d.change_no <= c.position
              AND (d.to_no IS NULL OR d.to_no <= c.position) AND d.delivered_at < c.read_at
              AND NOT EXISTS (SELECT FROM incident i
                               WHERE i.database_id = b.id AND i.last_seen_at >= d.delivered_at)
           ) delivered
     WHERE delivered.version IS NOT NULL AND NOT b.starts_over
       AND NOT EXISTS (SELECT FROM download_exception e
                        WHERE e.database_id = b.id AND e.customer_id = k.id
                          AND (e.settled_at IS NULL OR e.settled_at > c.read_at))"""  # noqa: S608
# Customers of whom a channel says that it has the change, and lacks them, the version or a GUID.
NOT_ARRIVED = sql.SQL(
    f"""SELECT DISTINCT held.database_id, k.account_number, k.id AS customer_id
          FROM ({HELD_VERSIONS}) held JOIN customer k ON k.id = held.customer_id
          LEFT JOIN guid_map m ON m.customer_id = k.id
          LEFT JOIN {{map}} v
                 ON v.database_id = held.database_id AND v.async_account = m.async_account
          LEFT JOIN {{customers}} s
                 ON s.database_id = held.database_id
                AND s.company = k.company_id AND s.account_number = k.account_number
         WHERE coalesce(s.hq_version, -1) < held.version
            OR held.is_latest AND m.async_account IS NOT NULL AND v.async_account IS NULL"""  # noqa: S608
)
SENT = sql.SQL(
    f"SELECT customer_id FROM ({HELD_CUSTOMERS}) s WHERE database_id = %(database)s"  # noqa: S608
)
NULL_MARK = "\x01"
VALUE_SEPARATOR = "\x1f"
# The same for a statement that people can read.
NULL_LITERAL, SEPARATOR_LITERAL = sql.SQL(r"E'\x01'"), sql.SQL(r"E'\x1f'")
Fingerprints = dict[int, tuple[int, int]]


@dataclass(frozen=True)
class HeldContents:
    """Rows of channels where their fingerprints differ from HQ's, and which fingerprints do.

    Shape: as HELD_ROW_COLUMNS and HELD_BUCKET_COLUMNS say.
    """

    channels: WorkTable
    rows: WorkTable
    buckets: WorkTable


class WrongRow(NamedTuple):
    """A row of a channel that is not as HQ has it, or that HQ never sent.

    `customer` is None if HQ has no such account, `version` the row's in the channel; `part` names
    one of the customer's addresses, contacts, affiliations or attributes.
    """

    database: int
    table: str
    account: str
    part: str
    customer: int | None
    is_extra: bool
    version: int | None


def text_of(column: str, kind: str) -> sql.Composable:
    """A column as a text that is the same on both engines and in HQ."""
    forms = {"boolean": "{}::int::text", "date": "to_char({}, 'YYYY-MM-DD')"}
    value = sql.SQL(forms.get(kind, "{}::text")).format(sql.Identifier("r", column))
    return sql.SQL("coalesce({}, {})").format(value, NULL_LITERAL)


def hashed_rows(target: Target, rows: sql.Composable) -> sql.Composed:
    kinds = dict(zip(target.columns, target.types, strict=True))
    return HASHED_ROWS.format(
        name=sql.Literal(target.table),
        key=joined_texts(target, target.key),
        content=joined_texts(target, target.columns),
        part=text_of(target.key[-1], kinds[target.key[-1]]),
        rows=rows,
    )


def joined_texts(target: Target, columns: Sequence[str]) -> sql.Composed:
    kinds = dict(zip(target.columns, target.types, strict=True))
    return sql.SQL("concat_ws({}, {})").format(
        SEPARATOR_LITERAL, listed(text_of(column, kinds[column]) for column in columns)
    )


@contextmanager
def held_contents(channels: WorkTable) -> Iterator[HeldContents]:
    with (
        session_table("held_row", HELD_ROW_COLUMNS) as rows,
        session_table("held_bucket", HELD_BUCKET_COLUMNS) as buckets,
    ):
        yield HeldContents(channels, rows, buckets)


@contextmanager
def sent_customers(channels: WorkTable, database: int) -> Iterator[WorkTable]:
    """Whom a database should have as HQ has them. Shape: customer_id."""
    query = SENT.format(channels=channels)
    with query_table("sent", query, {"database": database}) as sent:
        sent.analyze()
        yield sent


# ------------------------------------------------------------------------ the channel


def read_contents(
    channel: BaseDatabaseWrapper, database: ChannelDatabase, held: HeldContents
) -> int:
    """Compare fingerprints, and keep the rows of the channel where they differ.

    Effects: the tables of `held`. Returns how many rows were compared.
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
    """Compare the fingerprints of one table, and keep its rows where they differ."""
    theirs = table_fingerprints(channel, table)
    ours = parse_row_fingerprints(fetch(fingerprint_query(table.target, rows_of_hq(table, sent))))
    if buckets := [byte for byte in range(256) if theirs.get(byte) != ours.get(byte)]:
        with SpooledTemporaryFile(max_size=IN_MEMORY) as rows:
            copy_rows(channel, database, table.target, buckets, rows)
            rows.seek(0)
            with connection.cursor() as cursor:
                cursor.copy_expert(sql.SQL("COPY {} FROM STDIN").format(held.rows), rows)
        run_sql(
            "INSERT INTO {held_buckets} SELECT %s, %s, unnest(%s::int[])",
            [database.pk, table.target.table, buckets],
            held_buckets=held.buckets,
        )
    return sum(count for count, _ in theirs.values())


def rows_of_hq(table: OutboundTable, sent: WorkTable) -> sql.Composable:
    """HQ's rows of the customers that were sent, as the channel should have them."""
    return sql.SQL("(SELECT * FROM ({}) sent_rows ({}))").format(
        table.rows_of(sent), identifiers(table.target.columns)
    )


def fingerprint_query(target: Target, rows: sql.Composable) -> sql.Composed:
    return FINGERPRINTS.format(hashed_rows=hashed_rows(target, rows))


def parse_row_fingerprints(rows: Iterable[Row]) -> Fingerprints:
    return {int(byte): (int(count), int(total)) for byte, count, total in rows}


def table_fingerprints(channel: BaseDatabaseWrapper, table: OutboundTable) -> Fingerprints:
    if channel.vendor == "postgresql":
        with channel.cursor() as cursor:
            cursor.execute(fingerprint_query(table.target, in_channel(table.target)))
            return parse_row_fingerprints(cursor.fetchall())
    fingerprints: Fingerprints = {}
    for byte, content, _ in sqlite_rows(channel, table.target):
        count, total = fingerprints.get(byte, (0, 0))
        fingerprints[byte] = (count + 1, total + int(content[:8], 16))
    return fingerprints


def in_channel(target: Target) -> sql.Composable:
    return sql.SQL("public.{}").format(sql.Identifier(target.table))


def sqlite_rows(
    channel: BaseDatabaseWrapper, target: Target
) -> Iterator[tuple[int, str, dict[str, bytes | None]]]:
    """Each row of a table: its bucket, the hash of what it says, and its values as they are."""
    columns = ", ".join(f'CAST("{column}" AS BLOB)' for column in target.columns)
    for values in channel.connection.execute(
        f'SELECT {columns} FROM "{target.table}"'  # noqa: S608 - our own names
    ):
        row = dict(zip(target.columns, values, strict=True))
        content = hashlib.sha256(joined_values(values)).hexdigest()
        key = hashlib.sha256(joined_values([row[column] for column in target.key])).digest()
        yield key[0], content, row


def joined_values(values: Iterable[bytes | None]) -> bytes:
    return VALUE_SEPARATOR.encode().join(
        NULL_MARK.encode() if value is None else value for value in values
    )


def copy_rows(
    channel: BaseDatabaseWrapper,
    database: ChannelDatabase,
    target: Target,
    buckets: Sequence[int],
    rows: IO[bytes],
) -> None:
    if channel.vendor == "postgresql":
        query = rows_in_buckets(target, database.pk, buckets)
        with channel.cursor() as cursor:
            cursor.copy_expert(sql.SQL("COPY ({}) TO STDOUT").format(query), rows)
        return
    text, whole = LENIENT_READERS["text"], LENIENT_READERS["bigint"]
    for byte, content, row in sqlite_rows(channel, target):
        if byte in buckets:
            key = joined_values([row[column] for column in target.key])
            fields: list[Any] = [str(database.pk), target.table, text(key), content]
            fields += [
                text(row[column]) for column in ("company", "account_number", target.key[-1])
            ]
            fields += [whole(row["hq_version"]), LENIENT_READERS["boolean"](row["is_active"])]
            rows.write("\t".join(fields).encode() + b"\n")


def rows_in_buckets(target: Target, database: int, buckets: Sequence[int]) -> sql.Composed:
    return ROWS_IN_BUCKETS.format(
        database=sql.Literal(database),
        hashed_rows=hashed_rows(target, in_channel(target)),
        buckets=sql.Literal(list(buckets)),
    )


# ---------------------------------------------------------------------------- looking


def find_wrong_rows(database: int, held: HeldContents) -> list[WrongRow]:
    """The rows of a channel that are not as HQ has them by now. Needs what read_contents kept."""
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
        hashed_rows=hashed_rows(table.target, rows_of_hq(table, sent)),
        held_rows=held.rows,
        held_buckets=held.buckets,
        sent=sent,
    )
