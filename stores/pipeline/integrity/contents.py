"""What channels hold of customers and what belongs to them, compared with HQ's rows as they are.

Both sides tell their rows as 256 fingerprints, by the hash of the key: how many, and the sum of
the hashes of what they say. Only where these differ are the rows read, as hashes too. Compared is
what a database was given with no newer version pending. The map of GUIDs is compared by itself.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from tempfile import SpooledTemporaryFile
from typing import IO, Any, NamedTuple

from django.db import connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg2 import sql

from stores.channeldb.exchange.protocol import Target
from stores.hqdb.sql import Row, fetch, run_sql
from stores.models import ChannelDatabase
from stores.pipeline.download.packages import OutboundTable, outbound_child, outbound_customer
from stores.pipeline.events.kinds import CHILDREN
from stores.pipeline.integrity.sqlite_values import LENIENT_READERS

CONTENT_TABLES = [outbound_customer(), *map(outbound_child, CHILDREN)]
# What a copy between two databases may hold in memory.
IN_MEMORY = 1 << 24
CREATE_HELD = """CREATE TEMP TABLE held_row (
              database_id bigint, "table" text, key text, content text,
              company text, account_number text, part text, hq_version bigint,
              is_active boolean)"""
CREATE_SENT = """CREATE TEMP TABLE sent ON COMMIT DROP AS
           SELECT d.customer_id FROM delivery d JOIN seen_channel c USING (database_id)
            WHERE d.database_id = %s AND d.delivered_version = d.version
              AND d.delivered_version > 0 AND d.delivered_at < c.read_at"""
ROW_HASH = "('x' || left({}, 8))::bit(32)::bigint"
NULL_MARK = "\x01"
VALUE_SEPARATOR = "\x1f"
Fingerprints = dict[int, tuple[int, int]]


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
    return sql.SQL("coalesce({}, {})").format(value, sql.Literal(NULL_MARK))


def hashed_rows(target: Target, source: sql.Composable, where: str = "") -> sql.Composable:
    """Query for the rows of a table in PostgreSQL, as held_row has them, without the database."""
    kinds = dict(zip(target.columns, target.types, strict=True))
    values = [text_of(column, kinds[column]) for column in target.columns]
    return sql.SQL(
        """SELECT * FROM (
             SELECT {table} AS "table", {key} AS key,
                    encode(sha256(convert_to(concat_ws({between}, {values}), 'UTF8')), 'hex')
                    AS content, r.company, r.account_number, {part} AS part, r.hq_version,
                    r.is_active
               FROM {source} r) hashed {where}"""
    ).format(
        table=sql.Literal(target.table),
        key=key_expression(target),
        between=sql.Literal(VALUE_SEPARATOR),
        values=sql.SQL(", ").join(values),
        part=text_of(target.key[-1], kinds[target.key[-1]]),
        source=source,
        where=sql.SQL(where),
    )


def key_expression(target: Target) -> sql.Composable:
    kinds = dict(zip(target.columns, target.types, strict=True))
    return sql.SQL("concat_ws({}, {})").format(
        sql.Literal(VALUE_SEPARATOR),
        sql.SQL(", ").join(text_of(column, kinds[column]) for column in target.key),
    )


BUCKET = "get_byte(sha256(convert_to(key, 'UTF8')), 0)"


def in_buckets(buckets: Sequence[int]) -> str:
    return f"WHERE {BUCKET} = ANY('{{{', '.join(map(str, buckets))}}}')"


# ------------------------------------------------------------------------ the channel


def read_contents(channel: BaseDatabaseWrapper, database: ChannelDatabase) -> int:
    """Compare fingerprints, and keep the rows of the channel where they differ.

    Effects: table held_row. Returns how many rows were compared.
    """
    with transaction.atomic():
        run_sql(CREATE_SENT, [database.pk])
        run_sql("ANALYZE sent")
        compared = sum(read_table(channel, database, table) for table in CONTENT_TABLES)
        run_sql("DROP TABLE sent")
    return compared


def read_table(
    channel: BaseDatabaseWrapper, database: ChannelDatabase, table: OutboundTable
) -> int:
    """Compare the fingerprints of one table, and keep its rows where they differ."""
    channel_prints = table_fingerprints(channel, table)
    hq_prints = parse_row_fingerprints(
        fetch(fingerprint_query(hashed_rows(table.target, rows_of_hq(table))))
    )
    if buckets := [byte for byte in range(256) if channel_prints.get(byte) != hq_prints.get(byte)]:
        with SpooledTemporaryFile(max_size=IN_MEMORY) as rows:
            copy_rows(channel, database, table.target, buckets, rows)
            rows.seek(0)
            with connection.cursor() as cursor:
                cursor.copy_expert("COPY held_row FROM STDIN", rows)
        run_sql(
            "INSERT INTO held_bucket SELECT %s, %s, unnest(%s::int[])",
            [database.pk, table.target.table, buckets],
        )
    return sum(count for count, _ in channel_prints.values())


CREATE_BUCKETS = (
    """CREATE TEMP TABLE held_bucket (database_id bigint, "table" text, bucket integer)"""
)


def create_tables() -> None:
    """Tables held_row and held_bucket: what is kept of channels."""
    run_sql(CREATE_HELD)
    run_sql(CREATE_BUCKETS)


def drop_tables() -> None:
    run_sql("DROP TABLE held_row, held_bucket")


def rows_of_hq(table: OutboundTable) -> sql.Composable:
    """HQ's rows of the customers in table sent, as the channel should have them."""
    columns = sql.SQL(", ").join(map(sql.Identifier, table.target.columns))
    return sql.SQL("(SELECT * FROM ({}) sent_rows ({}))").format(table.query, columns)


def fingerprint_query(rows: sql.Composable) -> sql.Composable:
    return sql.SQL(
        f"""SELECT {BUCKET}, count(*), sum({ROW_HASH.format("content")})
              FROM ({{}}) rows GROUP BY 1"""  # noqa: S608 - our own words
    ).format(rows)


def parse_row_fingerprints(rows: Iterable[Row]) -> Fingerprints:
    return {int(byte): (int(count), int(total)) for byte, count, total in rows}


def table_fingerprints(channel: BaseDatabaseWrapper, table: OutboundTable) -> Fingerprints:
    if channel.vendor == "postgresql":
        with channel.cursor() as cursor:
            cursor.execute(fingerprint_query(hashed_rows(table.target, in_channel(table.target))))
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
    """The rows of a table in some buckets, in COPY's text format."""
    if channel.vendor == "postgresql":
        query = hashed_rows(target, in_channel(target), in_buckets(buckets))
        with channel.cursor() as cursor:
            cursor.copy_expert(
                sql.SQL("COPY (SELECT {}, found.* FROM ({}) found) TO STDOUT").format(
                    sql.Literal(database.pk), query
                ),
                rows,
            )
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


# ---------------------------------------------------------------------------- looking

# Active rows of a customer with nothing pending for the database, and that HQ does not have, are
# extra; so are those of an account that HQ does not know.
FIND_WRONG = """
    WITH ours AS (SELECT ours.*, {bucket} AS bucket FROM ({rows}) ours),
    compared AS (
      SELECT * FROM ours JOIN (SELECT bucket FROM held_bucket
                                WHERE database_id = %(database)s AND "table" = %(table)s) b
                        USING (bucket)),
    theirs AS (SELECT * FROM held_row
                WHERE database_id = %(database)s AND "table" = %(table)s)
    SELECT coalesce(o.account_number, h.account_number), coalesce(o.part, h.part), k.id,
           o.key IS NULL, h.hq_version
      FROM compared o FULL JOIN theirs h ON h.key = o.key
      LEFT JOIN customer k ON k.company_id = coalesce(o.company, h.company)
                          AND k.account_number = coalesce(o.account_number, h.account_number)
     WHERE o.content IS DISTINCT FROM h.content
       AND (o.key IS NOT NULL
            OR h.is_active IS DISTINCT FROM false
               AND (k.id IS NULL OR EXISTS (SELECT FROM sent WHERE sent.customer_id = k.id)))
     ORDER BY 1, 2"""


def find_wrong_rows(database: int) -> list[WrongRow]:
    """The rows of a channel that are not as HQ has them by now. Needs what read_contents kept."""
    run_sql(CREATE_SENT, [database])
    run_sql("ANALYZE sent")
    wrong = []
    for table in CONTENT_TABLES:
        rows = fetch(
            sql.SQL(FIND_WRONG).format(
                bucket=sql.SQL(BUCKET), rows=hashed_rows(table.target, rows_of_hq(table))
            ),
            {"database": database, "table": table.target.table},
        )
        wrong += [WrongRow(database, table.target.table, *row) for row in rows]
    run_sql("DROP TABLE sent")
    return wrong
