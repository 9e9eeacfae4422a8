"""Read what is compared of every channel, each as of one moment, into work tables of HQ."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Any

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg2 import sql

from stores.channeldb.connect.connection import connect
from stores.channeldb.connect.timeouts import extend_timeout
from stores.channeldb.errors import ChannelError
from stores.channeldb.exchange.protocol import READ_ISSUED
from stores.hqdb.sql import copy_stream, identifiers, listed, run_sql
from stores.hqdb.statistics import analyze_changed_tables
from stores.hqdb.work_table import WorkTable, session_table
from stores.models import ChannelDatabase
from stores.pipeline.events.document_tables import DOCUMENT_KEY, DOCUMENT_PARTS, HEADER
from stores.pipeline.integrity.contents import HeldContents, held_contents, read_contents
from stores.pipeline.integrity.sqlite_values import LENIENT_READERS, text_or_nothing
from stores.pipeline.integrity.tables import (
    COMPARED_CONTENTS,
    COMPARED_CUSTOMERS,
    COMPARED_EVENTS,
    COMPARED_MAP,
    COMPARED_PARTS,
    COMPARED_TABLES,
    COPIED_TABLES,
    ComparedTable,
    sample_condition,
    sampled_part_condition,
)

MAX_NUMBER = 10**18 - 1
# Statements of a check, and of reading a large channel, may take longer than those of a visit.
STATEMENT_TIMEOUT_S = 600
SET_TIMEOUT = f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT_S}s'"

CHANNEL_COLUMNS = """database_id bigint PRIMARY KEY, label text, read_at timestamptz,
    generation integer, confirmed_epoch bigint, confirmed_nonce uuid, intended_epoch bigint,
    intended_nonce uuid, identity text, epoch bigint, nonce text, account_high jsonb,
    issued jsonb, positions jsonb, position bigint, noted_position bigint"""
# Nobody is shown twice or by a GUID in what the tills search; the same words on both engines.
READ_LOOKUP = """SELECT what, CAST(who AS BLOB) AS who, times FROM (
    SELECT 'shown twice' AS what, account_number AS who, count(*) AS times
      FROM customer_lookup WHERE NOT is_pending
     GROUP BY company, account_number HAVING count(*) > 1
    UNION ALL
    SELECT 'pending twice', CAST(async_account AS TEXT), count(*)
      FROM customer_lookup WHERE is_pending GROUP BY async_account HAVING count(*) > 1
    UNION ALL
    SELECT 'not shown by its account', account_number, 1
      FROM customer_lookup WHERE NOT is_pending AND display_account <> account_number
    UNION ALL
    SELECT 'not shown as pending', NULL, 1
      FROM customer_lookup WHERE is_pending AND display_account <> 'Pending sync'
    ) shown LIMIT 20"""


# Lines and payments of which no header tells: an upload begins with headers and never sees them.
READ_ORPHANS = """SELECT CAST(p.{key} AS BLOB), count(*) FROM {part} p
             WHERE NOT EXISTS (SELECT 1 FROM {header} t WHERE t.{key} = p.{key})
             GROUP BY p.{key} ORDER BY 1 LIMIT 100"""


@dataclass(frozen=True)
class Copies:
    """What was read of channels, in work tables: the channels, and copies of their tables.

    Shape: `channels` as CHANNEL_COLUMNS says; a copy as its ComparedTable, with database_id.
    `position` is up to which change a channel says it has everything, `noted_position` what HQ had
    noted of it before.
    """

    channels: WorkTable
    tables: Mapping[str, WorkTable]
    held: HeldContents

    def of(self, copy: ComparedTable) -> WorkTable:
        return self.tables[copy.target]

    @property
    def names(self) -> dict[str, sql.Identifier]:
        return {
            "channels": self.channels,
            "map": self.of(COMPARED_MAP),
            "customers": self.of(COMPARED_CUSTOMERS),
        }


@dataclass
class Snapshot:
    """What was read of the channels, and of which of them it could not be."""

    copies: Copies
    # Whether every event's content was read, and every customer is looked at, or a sample of each.
    full: bool = False
    # Whether the rows that HQ wrote were compared.
    with_rows: bool = False
    unreachable: list[dict[str, Any]] = field(default_factory=list)
    # What a channel's tills are shown that they must not be.
    shown: list[dict[str, Any]] = field(default_factory=list)
    # Lines and payments without a header.
    orphans: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def channels_snapshot(*, full: bool = False, with_rows: bool = False) -> Iterator[Snapshot]:
    """Copy what is compared from every enabled channel database into work tables.

    `with_rows` compares the rows that HQ wrote as well, and keeps those of parts that differ.
    """
    with copies_of_channels() as copies:
        snapshot = Snapshot(copies, full, with_rows)
        for database in ChannelDatabase.objects.enabled().with_channel():
            try:
                read_channel(database, snapshot)
            except ChannelError:
                snapshot.unreachable.append({"channel": database.label, "error": "unreachable"})
        for table in copies.tables.values():
            table.analyze()
        analyze_changed_tables()
        yield snapshot


@contextmanager
def copies_of_channels() -> Iterator[Copies]:
    """Empty work tables for copies."""
    with ExitStack() as stack:
        channels = stack.enter_context(session_table("seen_channel", CHANNEL_COLUMNS))
        held = stack.enter_context(held_contents(channels))
        tables = {
            copy.target: stack.enter_context(session_table(copy.target, copy_columns(copy)))
            for copy in COPIED_TABLES
        }
        yield Copies(channels, tables, held)


def copy_columns(copy: ComparedTable) -> sql.Composed:
    columns = (
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in copy.columns
    )
    return listed([sql.SQL("database_id bigint"), *columns])


def read_channel(database: ChannelDatabase, snapshot: Snapshot) -> None:
    """Copy one channel, all its tables as of one moment; nothing of it if it goes away."""
    with transaction.atomic():
        # Before the channel is opened: what was noted earlier must be seen, and a visit that begins
        # meanwhile only moves the fence on.
        copies = snapshot.copies
        note_channel(database, copies)
        with connect(database) as alias, read_transaction(connections[alias]) as channel:
            rows = {
                copy.source: copy_table(channel, database, copies, copy) for copy in COMPARED_TABLES
            }
            for event, content in zip(COMPARED_EVENTS, COMPARED_CONTENTS, strict=True):
                copy_contents(
                    channel,
                    database,
                    copies,
                    content,
                    "" if snapshot.full else sample_condition(rows[event.source]),
                )
            read_state(channel, database, copies)
            if snapshot.with_rows:
                read_contents(channel, database, copies.held)
            shown, orphans = read_lookup(channel, database), read_orphans(channel, database)
    snapshot.shown += shown
    snapshot.orphans += orphans


def note_channel(database: ChannelDatabase, copies: Copies) -> None:
    """Write down HQ's clock, and what HQ has noted of the channel by now."""
    run_sql(
        """INSERT INTO {channels}
                  (database_id, label, read_at, generation, confirmed_epoch, confirmed_nonce,
                   intended_epoch, intended_nonce, noted_position)
           SELECT id, %s, clock_timestamp(), generation, confirmed_epoch, confirmed_nonce,
                  intended_epoch, intended_nonce, position
             FROM channel_database WHERE id = %s""",
        [database.label, database.pk],
        **copies.names,
    )


def copy_contents(
    channel: BaseDatabaseWrapper,
    database: ChannelDatabase,
    copies: Copies,
    content: ComparedTable,
    part: str,
) -> None:
    """Copy events of one table, all or those of a sample, with what travels with them."""
    copy_table(channel, database, copies, content, part)
    for belonging in COMPARED_PARTS.get(content.source, ()):
        condition = sampled_part_condition(content.source, part)
        copy_table(channel, database, copies, belonging, condition)


@contextmanager
def read_transaction(channel: BaseDatabaseWrapper) -> Iterator[BaseDatabaseWrapper]:
    """A read transaction of the channel that sees one snapshot and locks nobody out."""
    extend_timeout(channel, STATEMENT_TIMEOUT_S)
    if channel.vendor == "postgresql":
        with transaction.atomic(using=channel.alias), channel.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield channel
    else:
        channel.connection.execute("BEGIN DEFERRED")
        try:
            yield channel
        finally:
            channel.connection.execute("ROLLBACK")


def copy_table(
    channel: BaseDatabaseWrapper,
    database: ChannelDatabase,
    copies: Copies,
    copy: ComparedTable,
    part: str = "",
) -> int:
    """Copy one table, or a part of it, into its work table. Returns how many rows."""
    return copy_stream(copies.of(copy), partial(write_rows, channel, database, copy, part))


def write_rows(
    channel: BaseDatabaseWrapper,
    database: ChannelDatabase,
    copy: ComparedTable,
    part: str,
    rows: IO[bytes],
) -> None:
    """The rows of one table in COPY's text format, the database's number in front."""
    if channel.vendor == "postgresql":
        statement = sql.SQL("COPY (SELECT {}, {} FROM public.{}{}) TO STDOUT").format(
            sql.Literal(database.pk),
            identifiers([name for name, _ in copy.columns]),
            sql.Identifier(copy.source),
            sql.SQL(part),
        )
        with channel.cursor() as cursor:
            cursor.copy_expert(statement, rows)
        return
    # As blobs: a damaged text must not fail the whole table.
    columns = ", ".join(f'CAST("{name}" AS BLOB)' for name, _ in copy.columns)
    readers = [LENIENT_READERS[kind] for _, kind in copy.columns]
    for row in channel.connection.execute(
        f'SELECT {columns} FROM "{copy.source}"{part}'  # noqa: S608 - our own names
    ):
        values = [reader(value) for reader, value in zip(readers, row, strict=True)]
        rows.write("\t".join([str(database.pk), *values]).encode() + b"\n")


def read_state(channel: BaseDatabaseWrapper, database: ChannelDatabase, copies: Copies) -> None:
    """Put what the channel knows of itself beside what HQ knew of it."""
    columns = (
        *("database_id", "epoch", "nonce", "account_high", "positions"),
        f"({READ_ISSUED})",
    )
    kind = "BLOB" if channel.vendor == "sqlite" else "TEXT"
    selected = ", ".join(f"CAST({name} AS {kind})" for name in columns)
    with channel.cursor() as cursor:
        cursor.execute(f"SELECT {selected} FROM exchange_state")  # noqa: S608 - our own names
        row = cursor.fetchone()
    if row is None:
        return
    identity, epoch, nonce, high, positions, issued = map(text_or_nothing, row)
    run_sql(
        """UPDATE {channels}
              SET identity = %(identity)s, epoch = %(epoch)s, nonce = %(nonce)s,
                  account_high = %(high)s, issued = %(issued)s, positions = %(positions)s,
                  position = coalesce((%(positions)s::jsonb ->> %(company)s)::bigint, 0)
            WHERE database_id = %(database)s""",
        {
            "identity": identity,
            "epoch": int(epoch) if epoch.isdigit() else None,
            "nonce": nonce,
            "high": valid_numbers(high),
            "issued": valid_numbers(issued),
            "positions": valid_numbers(positions),
            "company": database.channel.company_id,
            "database": database.pk,
        },
        **copies.names,
    )


def valid_numbers(text: str) -> str:
    """The JSON of the highest numbers by company, with only what is a number in it.

    One that no column of HQ could hold is as impossible as the highest that one can.
    """
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = None
    high = parsed.items() if isinstance(parsed, dict) else ()
    return json.dumps({name: min(value, MAX_NUMBER) for name, value in high if type(value) is int})


def read_lookup(channel: BaseDatabaseWrapper, database: ChannelDatabase) -> list[dict[str, Any]]:
    """Whom the channel's tills would see twice, or by something else than the account."""
    statement = (
        READ_LOOKUP if channel.vendor == "sqlite" else READ_LOOKUP.replace("AS BLOB", "AS TEXT")
    )
    with channel.cursor() as cursor:
        cursor.execute(statement)
        return [
            {"channel": database.label, "what": what, "who": text_or_nothing(who), "times": times}
            for what, who, times in cursor.fetchall()
        ]


def read_orphans(channel: BaseDatabaseWrapper, database: ChannelDatabase) -> list[dict[str, Any]]:
    """Lines and payments whose header is not there, by table and transaction."""
    orphans = []
    for part in DOCUMENT_PARTS:
        statement = READ_ORPHANS.format(key=DOCUMENT_KEY, part=part.event, header=HEADER.event)
        if channel.vendor != "sqlite":
            statement = statement.replace("AS BLOB", "AS TEXT")
        with channel.cursor() as cursor:
            cursor.execute(statement)
            orphans += [
                {
                    "channel": database.label,
                    "table": part.event,
                    "transaction_id": text_or_nothing(document),
                    "rows": rows,
                    "what": "no header",
                }
                for document, rows in cursor.fetchall()
            ]
    return orphans
