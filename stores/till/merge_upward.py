"""Merge what a register wrote while it was offline into the database of its channel.

A register that works offline writes into a SQLite file of its own. Once it is back online, its till
copies the events into the channel's database, so that the other registers of the store see the
customers at once. Headquarters (HQ) also visits the register. It knows each event by its id, and
takes it once, whichever of the two databases it comes from first.

An event is merged when the channel has its id. Nothing marks it in the register: events never
change there, and only HQ acknowledges them, in each database for itself. So a repetition copies
nothing, and after a crash it continues.

    only the register has it                 copied, unacknowledged, in the order of the register
    the channel has the same event           left as it is
    the id, or the number of a sale, says    reported; neither of the two is changed, and HQ takes
    something else in the channel            one of them to quarantine
    a sale still lacks announced lines       waits in the register
    the channel cannot hold a value          stays in the register, from where HQ takes it
"""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

from django.db import Error as DatabaseError
from django.db import transaction
from psycopg2 import sql

from stores.channeldb.connect.connection import lacking_columns
from stores.channeldb.exchange.copy import copy_to_channel, qualified
from stores.channeldb.exchange.postgresql import PostgreSQLVisit
from stores.channeldb.exchange.protocol import EventBatch, EventTable, TableData, Target
from stores.channeldb.exchange.sqlite import SQLiteVisit, decoded_rows
from stores.channeldb.schema.tables import EVENT_TABLES, NOT_COMPARED, PART_TABLES, Table
from stores.failpoints import failpoint
from stores.hqdb.retry import is_data_error
from stores.hqdb.sql import identifiers
from stores.messages.labels import counted

# How many events one transaction of the channel takes.
CHUNK = 500
TYPES = {"counter": "bigint", "time": "timestamptz", "money": "numeric"}
HEADER = "retail_transaction"
DOCUMENT_KEY = "transaction_id"


def source_of(table: Table, parts: Sequence[Table] = ()) -> EventTable:
    columns = [column for column in table.columns if column.name != "acknowledged_at"]
    return EventTable(
        table.name,
        tuple(column.name for column in columns),
        tuple(TYPES.get(column.kind, column.kind) for column in columns),
        parts=tuple(map(source_of, parts)),
        with_acknowledged=True,
    )


def sources_for(channel: PostgreSQLVisit | SQLiteVisit) -> list[EventTable]:
    """What is read, without the columns that a channel of an older version lacks.

    Customers come before the sales that name them.
    """
    lacking = lacking_columns(channel.wrapper.alias)
    return [
        source_of(table.without(lacking), PART_TABLES if table.name == HEADER else ())
        for table in EVENT_TABLES
    ]


class Conflict(NamedTuple):
    """An event of the register whose id or number says something else in the channel."""

    table: str
    event_id: str


@dataclass
class MergeCounts:
    """What became of the events of a register. A sale with its lines and payments is one event."""

    copied: int = 0
    known: int = 0
    # Sales without all of their lines.
    incomplete: int = 0
    # Events with a value that the channel cannot hold.
    left: int = 0
    conflicts: list[Conflict] = field(default_factory=list)

    @property
    def behind(self) -> int:
        """How many events stay in the register."""
        return self.incomplete + self.left + len(self.conflicts)

    def __str__(self) -> str:
        left = f" {counted(self.behind, 'event')} left to headquarters." if self.behind else ""
        return f"{counted(self.copied, 'event')} copied.{left}"

    def add(self, other: "MergeCounts") -> None:
        self.copied += other.copied
        self.known += other.known
        self.incomplete += other.incomplete
        self.left += other.left
        self.conflicts += other.conflicts


def count_new_events(register: SQLiteVisit, channel: PostgreSQLVisit | SQLiteVisit) -> int:
    """How many events the register has whose ids the channel lacks."""
    return sum(lacking_ids(register, channel, table.name) for table in EVENT_TABLES)


def lacking_ids(register: SQLiteVisit, channel: PostgreSQLVisit | SQLiteVisit, table: str) -> int:
    """How many of the register's ids of a table the channel lacks. What is no id is left out."""
    lines, _ = register.event_ids(table)
    ids = lines.decode().lower().split()
    condition, values = (
        ("= ANY (%s::uuid[])", ids)
        if isinstance(channel, PostgreSQLVisit)
        else ("IN (SELECT value FROM json_each(%s))", json.dumps(ids))
    )
    statement = f"SELECT count(*) FROM {table} WHERE event_id {condition}"  # noqa: S608
    with channel.wrapper.cursor() as cursor:
        cursor.execute(statement, [values])
        return len(ids) - int(cursor.fetchone()[0])


def merge_upward(register: SQLiteVisit, channel: PostgreSQLVisit | SQLiteVisit) -> MergeCounts:
    """Copy the events that an open channel database lacks from that of an open register.

    Effects: events, lines and payments in the channel, one transaction for each chunk. Errors:
    those of the databases; what was committed stays.
    """
    counts = MergeCounts()
    for source in sources_for(channel):
        merge_table(register, channel, source, counts)
    return counts


def merge_table(
    register: SQLiteVisit,
    channel: PostgreSQLVisit | SQLiteVisit,
    source: EventTable,
    counts: MergeCounts,
) -> None:
    """Merge one table, chunk after chunk; a chunk that the channel refuses, event by event."""
    done, one_by_one_to = 0, 0
    oversized: set[int] = set()
    while True:
        limit = CHUNK if done >= one_by_one_to else 1
        [batch] = register.read_events([source], limit=limit, beyond={source.table: done})
        oversized.update(batch.oversized)
        if not batch.total:
            counts.left += len(oversized)
            return
        try:
            counts.add(add_events(channel, source, batch))
        except (DatabaseError, sqlite3.Error) as error:
            if not is_data_error(error):
                raise
            if batch.total > 1:
                one_by_one_to = batch.last_counter
                continue
            counts.left += 1
        failpoint("merge:after_channel_commit")
        done = batch.last_counter


def add_events(
    channel: PostgreSQLVisit | SQLiteVisit, source: EventTable, batch: EventBatch
) -> MergeCounts:
    """Add the events of a batch that the channel lacks, in one transaction."""
    with transaction.atomic(using=channel.wrapper.alias):
        counts = (
            add_to_postgresql(channel, source, batch)
            if isinstance(channel, PostgreSQLVisit)
            else add_to_sqlite(channel, source, batch)
        )
        failpoint("merge:before_channel_commit")
    counts.left += len(batch.unreadable)
    return counts


# ------------------------------------------------------------------ PostgreSQL

# The events whose id, or number of a sale, the channel has with another content. NULL is a value.
CONFLICTING = """
    DELETE FROM {incoming} incoming USING {table} held
     WHERE ({same_key}) AND (({held}) IS DISTINCT FROM ({sent}) OR {parts_differ})
    RETURNING incoming.event_id::text"""
# Whether a sale has other lines, or payments, in the channel.
PARTS_DIFFER = """
    EXISTS ((SELECT {columns} FROM {incoming} WHERE transaction_id = incoming.transaction_id
             EXCEPT SELECT {columns} FROM {table} WHERE transaction_id = incoming.transaction_id)
            UNION ALL
            (SELECT {columns} FROM {table} WHERE transaction_id = incoming.transaction_id
             EXCEPT SELECT {columns} FROM {incoming}
              WHERE transaction_id = incoming.transaction_id))"""


def add_to_postgresql(
    channel: PostgreSQLVisit, source: EventTable, batch: EventBatch
) -> MergeCounts:
    counts = MergeCounts()
    with channel.wrapper.cursor() as cursor:

        def run(statement: str, *values: Any, **names: sql.Composable) -> list[Any]:
            cursor.execute(sql.SQL(statement).format(**of_source, **names), values)
            return cursor.fetchall() if cursor.description else []

        # The work tables have no statistics; events are looked up by their keys.
        cursor.execute("SET LOCAL enable_seqscan = off")
        of_source = copy_incoming(cursor, source, batch.data)
        parts = [
            (part, copy_incoming(cursor, part, batch.parts.get(part.table, b"")))
            for part in source.parts
        ]
        if parts:
            [(_, lines), _] = parts
            run(
                """DELETE FROM {incoming} incoming
                    WHERE line_count > (SELECT count(*) FROM {lines} line
                                         WHERE line.transaction_id = incoming.transaction_id)""",
                lines=lines["incoming"],
            )
            counts.incomplete = cursor.rowcount
        columns = [name for name in source.columns if name != "replication_counter"]
        compared = [name for name in columns if name not in NOT_COMPARED]
        conflicts = run(
            CONFLICTING,
            held=identifiers(compared, of="held"),
            sent=identifiers(compared, of="incoming"),
            same_key=sql.SQL(" OR ").join(
                sql.SQL("held.{0} = incoming.{0}").format(sql.Identifier(key))
                for key in keys_of(source)
            ),
            parts_differ=sql.SQL(" OR ").join(
                [sql.SQL("false")]
                + [
                    sql.SQL(PARTS_DIFFER).format(columns=identifiers(part.columns), **names)
                    for part, names in parts
                ]
            ),
        )
        counts.conflicts = [Conflict(source.table, event_id) for (event_id,) in conflicts]
        run(
            """DELETE FROM {incoming} incoming USING {table} held
                WHERE held.event_id = incoming.event_id"""
        )
        counts.known = cursor.rowcount
        added = run(
            """INSERT INTO {table} ({columns})
               SELECT {columns} FROM {incoming} ORDER BY replication_counter
                   ON CONFLICT DO NOTHING RETURNING {key}""",
            columns=identifiers(columns),
            key=sql.Identifier(DOCUMENT_KEY if parts else "event_id"),
        )
        counts.copied = len(added)
        for part, names in parts:
            cursor.execute(
                sql.SQL(
                    """INSERT INTO {table} ({columns}) SELECT {columns} FROM {incoming}
                        WHERE transaction_id = ANY(%s)"""
                ).format(columns=identifiers(part.columns), **names),
                [[key for (key,) in added]],
            )
    return counts


def copy_incoming(cursor: Any, source: EventTable, data: bytes) -> dict[str, sql.Composable]:
    """Copy rows into a work table. Returns the names of that and of the channel's table."""
    incoming, table = sql.Identifier(f"merged_{source.table}"), qualified(source.table)
    cursor.execute(
        sql.SQL("CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA").format(
            incoming, identifiers(source.columns), table
        )
    )
    copy_to_channel(cursor, incoming, source.columns, data, binary=False)
    return {"incoming": incoming, "table": table}


def keys_of(source: EventTable) -> list[str]:
    """The columns of which no two events of a table have the same value."""
    return ["event_id", *([DOCUMENT_KEY] if source.parts else [])]


# ---------------------------------------------------------------------- SQLite

Row = dict[str, Any]


def add_to_sqlite(channel: SQLiteVisit, source: EventTable, batch: EventBatch) -> MergeCounts:
    # The transaction holds the only write lock: nobody adds an event meanwhile.
    raw = channel.wrapper.connection
    counts = MergeCounts()
    parts = {
        part: by_document(rows_of(part, batch.parts.get(part.table, b""))) for part in source.parts
    }
    for event in rows_of(source, batch.data):
        sent = {part: rows[event[DOCUMENT_KEY]] for part, rows in parts.items()}
        if sent and (event["line_count"] or 0) > len(sent[source.parts[0]]):
            counts.incomplete += 1
            continue
        held = held_rows(raw, source, event)
        if not held:
            insert(raw, source, event)
            for part, rows in sent.items():
                for row in rows:
                    insert(raw, part, row)
            counts.copied += 1
        elif all(is_same(source, event, row) for row in held) and all(
            are_same(part, rows, held_parts(raw, part, event)) for part, rows in sent.items()
        ):
            counts.known += 1
        else:
            counts.conflicts.append(Conflict(source.table, event["event_id"]))
    return counts


def rows_of(source: EventTable, data: bytes) -> list[Row]:
    target = Target(source.table, source.columns, source.types, key=())
    return [
        dict(zip(source.columns, row, strict=True)) for row in decoded_rows(TableData(target, data))
    ]


def by_document(rows: Sequence[Row]) -> dict[Any, list[Row]]:
    documents: dict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        documents[row[DOCUMENT_KEY]].append(row)
    return documents


def held_rows(raw: Any, source: EventTable, event: Row) -> list[Row]:
    """The rows of the channel with the id, or the number, of an event."""
    keys = keys_of(source)
    condition = " OR ".join(f'"{key}" = ?' for key in keys)
    return select(raw, source, condition, [event[key] for key in keys])


def held_parts(raw: Any, part: EventTable, event: Row) -> list[Row]:
    return select(raw, part, f'"{DOCUMENT_KEY}" = ?', [event[DOCUMENT_KEY]])


def select(raw: Any, source: EventTable, condition: str, values: Sequence[Any]) -> list[Row]:
    columns = ", ".join(f'"{column}"' for column in source.columns)
    rows = raw.execute(
        f'SELECT {columns} FROM "{source.table}" WHERE {condition}',  # noqa: S608 - our own names
        values,
    )
    return [dict(zip(source.columns, row, strict=True)) for row in rows.fetchall()]


def insert(raw: Any, source: EventTable, row: Row) -> None:
    columns = [name for name in source.columns if name != "replication_counter"]
    names = ", ".join(f'"{column}"' for column in columns)
    raw.execute(
        f'INSERT INTO "{source.table}" ({names}) VALUES ({", ".join("?" for _ in columns)})',  # noqa: S608 - our own names
        [row[column] for column in columns],
    )


def are_same(part: EventTable, sent: Sequence[Row], held: Sequence[Row]) -> bool:
    """Whether two documents have the same lines, or the same payments."""
    by_number = {row["line_number"]: row for row in held}
    return len(sent) == len(held) and all(
        row["line_number"] in by_number and is_same(part, row, by_number[row["line_number"]])
        for row in sent
    )


def is_same(source: EventTable, sent: Row, held: Row) -> bool:
    return all(
        name in NOT_COMPARED or is_same_value(sent[name], held[name], kind)
        for name, kind in zip(source.columns, source.types, strict=True)
    )


def is_same_value(one: Any, other: Any, kind: str) -> bool:
    """Whether two values are the same, however a till has written the time or the amount."""
    if one == other or kind not in VALUE_OF or None in (one, other):
        return bool(one == other)
    try:
        return bool(VALUE_OF[kind](one) == VALUE_OF[kind](other))
    except (ValueError, TypeError, InvalidOperation):
        return False


VALUE_OF: dict[str, Callable[[Any], Any]] = {
    "timestamptz": lambda text: datetime.fromisoformat(text).astimezone(UTC),
    "numeric": lambda text: Decimal(str(text)),
}
