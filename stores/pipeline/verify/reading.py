"""Read what is compared of every channel, each as of one moment, into temporary tables of HQ."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from django.db import connection, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg2 import sql

from stores.channeldb.connection import ChannelError, connect
from stores.channeldb.schema import EVENT_TABLES
from stores.channeldb.sqlite import ESCAPES
from stores.channeldb.visit import GUID
from stores.models import ChannelDatabase
from stores.pipeline.bulk import names, run_sql

# What a copy between two databases may hold in memory.
IN_MEMORY = 1 << 24
# Statements of a check, and of reading a large channel, may take longer than those of a visit.
PATIENCE = "SET LOCAL statement_timeout = '10min'"


@dataclass
class Seen:
    """What was read of the channels: their rows are in temporary tables."""

    unreachable: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Copy:
    """A table of the channels and the columns of it that are compared, with PostgreSQL's types."""

    target: str
    source: str
    columns: tuple[tuple[str, str], ...]
    condition: str = ""


ACKNOWLEDGED = [
    Copy(
        f"seen_{table.name}",
        table.name,
        (("event_id", "uuid"), ("replication_counter", "bigint")),
        " WHERE acknowledged_at IS NOT NULL",
    )
    for table in EVENT_TABLES
]
MAP = Copy(
    "seen_map",
    "account_map",
    (("async_account", "uuid"), ("company", "text"), ("account_number", "text")),
)
COPIES = (MAP, *ACKNOWLEDGED)


@contextmanager
def channels_read() -> Iterator[Seen]:
    """Copy what is compared from every enabled channel database into temporary tables."""
    seen = Seen()
    run_sql("CREATE TEMP TABLE seen_channel (database_id bigint, label text, read_at timestamptz)")
    for copy in COPIES:
        run_sql(create(copy))
    try:
        for database in ChannelDatabase.objects.enabled().with_channel():
            try:
                read(database)
            except ChannelError:
                seen.unreachable.append({"channel": database.label, "error": "unreachable"})
        for copy in COPIES:
            run_sql(sql.SQL("ANALYZE {}").format(sql.Identifier(copy.target)))
        yield seen
    finally:
        for name in ("seen_channel", *(copy.target for copy in COPIES)):
            run_sql(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))


def create(copy: Copy) -> sql.Composable:
    """The temporary table for one table of all channels."""
    columns = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in copy.columns
    )
    return sql.SQL("CREATE TEMP TABLE {} (database_id bigint, {})").format(
        sql.Identifier(copy.target), columns
    )


def read(database: ChannelDatabase) -> None:
    """Copy one channel, all its tables as of one moment; nothing of it if it goes away."""
    with transaction.atomic():
        # HQ's clock before the channel is opened: what was delivered earlier must be seen.
        run_sql(
            "INSERT INTO seen_channel VALUES (%s, %s, clock_timestamp())",
            [database.pk, database.label],
        )
        with connect(database) as alias, one_moment(connections[alias]) as channel:
            for copy in COPIES:
                with SpooledTemporaryFile(max_size=IN_MEMORY) as rows:
                    write_rows(channel, database, copy, rows)
                    rows.seek(0)
                    with connection.cursor() as cursor:
                        cursor.copy_expert(
                            sql.SQL("COPY {} FROM STDIN").format(sql.Identifier(copy.target)), rows
                        )


@contextmanager
def one_moment(channel: BaseDatabaseWrapper) -> Iterator[BaseDatabaseWrapper]:
    """A read transaction of the channel that sees one snapshot and locks nobody out."""
    if channel.vendor == "postgresql":
        with transaction.atomic(using=channel.alias), channel.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            cursor.execute(PATIENCE)
            yield channel
    else:
        channel.connection.execute("BEGIN DEFERRED")
        try:
            yield channel
        finally:
            channel.connection.execute("ROLLBACK")


def write_rows(
    channel: BaseDatabaseWrapper, database: ChannelDatabase, copy: Copy, rows: IO[bytes]
) -> None:
    """The rows of one table in COPY's text format, the database's number in front."""
    if channel.vendor == "postgresql":
        statement = sql.SQL("COPY (SELECT {}, {} FROM public.{}{}) TO STDOUT").format(
            sql.Literal(database.pk),
            names([name for name, _ in copy.columns]),
            sql.Identifier(copy.source),
            sql.SQL(copy.condition),
        )
        with channel.cursor() as cursor:
            cursor.copy_expert(statement, rows)
        return
    # As blobs: a damaged text must not fail the whole table.
    columns = ", ".join(f'CAST("{name}" AS BLOB)' for name, _ in copy.columns)
    readers = [as_guid if kind == "uuid" else as_text for _, kind in copy.columns]
    for found in channel.connection.execute(
        f'SELECT {columns} FROM "{copy.source}"{copy.condition}'  # noqa: S608 - our own names
    ):
        values = [reader(value) for reader, value in zip(readers, found, strict=True)]
        rows.write("\t".join([str(database.pk), *values]).encode() + b"\n")


def as_guid(value: bytes | None) -> str:
    """COPY text of a GUID; what is no GUID becomes NULL, which is nobody's."""
    found = (value or b"").decode("ascii", "replace")
    return found if GUID.fullmatch(found) else r"\N"


def as_text(value: bytes | None) -> str:
    """COPY text of a text, as far as it is one."""
    if value is None:
        return r"\N"
    return value.decode("utf-8", "replace").replace("\0", "\ufffd").translate(ESCAPES)
