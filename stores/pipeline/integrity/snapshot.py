"""Copy what is compared of every channel into work tables of HQ, each channel as of one moment."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Any

from django.db import connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg2 import sql

from stores.channeldb.connect.connection import connect, lacking_columns
from stores.channeldb.connect.timeouts import extend_timeout
from stores.channeldb.errors import ChannelError
from stores.channeldb.exchange.protocol import READ_ISSUED
from stores.hqdb.sql import Row, copy_stream, fetch_one, listed, run_sql
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
# What tills must not find in their search: a person twice, or by a GUID. Valid on both engines.
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


# Lines and payments without a header. Uploads begin with the headers, and never read these.
READ_ORPHANS = """
    SELECT CAST(part.{key} AS BLOB), count(*) FROM {part} part
     WHERE NOT EXISTS (SELECT 1 FROM {header} header WHERE header.{key} = part.{key})
     GROUP BY part.{key} ORDER BY 1 LIMIT 100"""


@dataclass(frozen=True)
class Copies:
    """Work tables with the channels and copies of their tables, each row with a database_id.

    The columns of `channels` are CHANNEL_COLUMNS: `position` is the last change that a channel says
    it has, `noted_position` HQ's copy of that before the channel was read.
    """

    channels: WorkTable
    tables: Mapping[str, WorkTable]
    held: HeldContents

    def of(self, copy: ComparedTable) -> WorkTable:
        return self.tables[copy.target]

    def filled(self, copies: Sequence[ComparedTable]) -> list[ComparedTable]:
        """Return those of the tables of which a channel has rows. Mostly these are few."""
        has_rows = sql.SQL("EXISTS (SELECT FROM {copy})")
        columns = listed(has_rows.format(copy=self.of(copy)) for copy in copies)
        answers = fetch_one(sql.SQL("SELECT ") + columns)
        return [copy for copy, answer in zip(copies, answers, strict=True) if answer]

    @property
    def names(self) -> dict[str, sql.Identifier]:
        return {
            "channels": self.channels,
            "map": self.of(COMPARED_MAP),
            "customers": self.of(COMPARED_CUSTOMERS),
        }


@dataclass
class Snapshot:
    """What was read of the channels.

    `full` tells that all events and customers are compared instead of samples, `with_rows` that the
    rows that HQ wrote are compared, too. `shown` is what READ_LOOKUP found, `orphans` what
    READ_ORPHANS found.
    """

    copies: Copies
    full: bool = False
    with_rows: bool = False
    unreachable: list[dict[str, Any]] = field(default_factory=list)
    shown: list[dict[str, Any]] = field(default_factory=list)
    orphans: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def channels_snapshot(*, full: bool = False, with_rows: bool = False) -> Iterator[Snapshot]:
    """Copy what is compared of every enabled channel database."""
    with copies_of_channels() as copies:
        snapshot = Snapshot(copies, full, with_rows)
        for database in ChannelDatabase.objects.enabled().with_channel():
            try:
                read_channel(database, snapshot)
            except ChannelError:
                snapshot.unreachable.append({"channel": database.label, "error": "unreachable"})
        for copy in copies.filled(COPIED_TABLES):
            copies.of(copy).analyze()
        analyze_changed_tables()
        yield snapshot


@contextmanager
def copies_of_channels() -> Iterator[Copies]:
    """Make empty work tables for the copies."""
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
    """Copy all tables of one channel as of one moment, or nothing if it cannot be reached."""
    with transaction.atomic():
        # HQ's row is read first: a visit that begins meanwhile only moves the fence on.
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
    """Insert the channel with HQ's time and HQ's copy of the channel's state."""
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
    condition: str,
) -> None:
    """Copy the events of one table that meet a condition, with their lines and payments."""
    copy_table(channel, database, copies, content, condition)
    for part in COMPARED_PARTS.get(content.source, ()):
        of_these = sampled_part_condition(content.source, condition)
        copy_table(channel, database, copies, part, of_these)


@contextmanager
def read_transaction(channel: BaseDatabaseWrapper) -> Iterator[BaseDatabaseWrapper]:
    """Read the channel in one snapshot, without locking others out."""
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
    condition: str = "",
) -> int:
    """Copy the rows of one table that meet a condition. Return how many."""
    return copy_stream(copies.of(copy), partial(write_rows, channel, database, copy, condition))


def write_rows(
    channel: BaseDatabaseWrapper,
    database: ChannelDatabase,
    copy: ComparedTable,
    condition: str,
    rows: IO[bytes],
) -> None:
    """Write rows of one table as COPY data, each with HQ's id of the database in front."""
    lacking = lacking_columns(channel.alias)
    if channel.vendor == "postgresql":
        names = [
            sql.SQL("NULL") if name in lacking else sql.Identifier(name) for name, _ in copy.columns
        ]
        statement = sql.SQL("COPY (SELECT {}, {} FROM public.{}{}) TO STDOUT").format(
            sql.Literal(database.pk),
            listed(names),
            sql.Identifier(copy.source),
            sql.SQL(condition),
        )
        with channel.cursor() as cursor:
            cursor.copy_expert(statement, rows)
        return
    # Read as blobs, so that a damaged text does not fail the whole table.
    columns = ", ".join(
        "NULL" if name in lacking else f'CAST("{name}" AS BLOB)' for name, _ in copy.columns
    )
    readers = [LENIENT_READERS[kind] for _, kind in copy.columns]
    for row in channel.connection.execute(
        f'SELECT {columns} FROM "{copy.source}"{condition}'  # noqa: S608 - our own names
    ):
        values = [reader(value) for reader, value in zip(readers, row, strict=True)]
        rows.write("\t".join([str(database.pk), *values]).encode() + b"\n")


def read_state(channel: BaseDatabaseWrapper, database: ChannelDatabase, copies: Copies) -> None:
    """Update the inserted channel with the state that it has of itself."""
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
    """Return the JSON of highest numbers by company, without values that are not numbers.

    A number that no column of HQ can hold becomes the highest that one can, which is as impossible.
    """
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = None
    high = parsed.items() if isinstance(parsed, dict) else ()
    return json.dumps({name: min(value, MAX_NUMBER) for name, value in high if type(value) is int})


def read_lookup(channel: BaseDatabaseWrapper, database: ChannelDatabase) -> list[dict[str, Any]]:
    """Return what the channel's tills find but must not find in their search."""
    return [
        {"channel": database.label, "what": what, "who": text_or_nothing(who), "times": times}
        for what, who, times in fetch_texts(channel, READ_LOOKUP)
    ]


def read_orphans(channel: BaseDatabaseWrapper, database: ChannelDatabase) -> list[dict[str, Any]]:
    """Return the lines and payments without a header, by table and transaction."""
    orphans = []
    for part in DOCUMENT_PARTS:
        statement = READ_ORPHANS.format(key=DOCUMENT_KEY, part=part.event, header=HEADER.event)
        orphans += [
            {
                "channel": database.label,
                "table": part.event,
                "transaction_id": text_or_nothing(document),
                "rows": rows,
                "what": "no header",
            }
            for document, rows in fetch_texts(channel, statement)
        ]
    return orphans


def fetch_texts(channel: BaseDatabaseWrapper, statement: str) -> list[Row]:
    """Run a statement whose texts are blobs, which only SQLite needs for damaged texts."""
    if channel.vendor != "sqlite":
        statement = statement.replace("AS BLOB", "AS TEXT")
    with channel.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())
