"""A visit to a channel in a SQLite file: strict reading of columns that may hold anything."""

import re
from collections.abc import Callable, Sequence
from datetime import date, datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from stores.channeldb.visit import GUID, Events, Package, Source, Unreadable

TIME = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d(:?\d\d)?)")
DATE = re.compile(r"\d{4}-\d\d-\d\d")
# What COPY's text format would read as something else.
ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})

Column = Callable[[Any], str]


class Broken(ValueError):
    """A value is not what its column promises; the message is the reason's code."""


def text(value: Any) -> str:
    """COPY text of a text value. A broken byte arrives as a lone surrogate."""
    if not isinstance(value, str):
        raise Broken("type")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise Broken("encoding") from None
    if "\0" in value:
        raise Broken("encoding")
    return value.translate(ESCAPES)


def guid(value: Any) -> str:
    if not isinstance(value, str):
        raise Broken("type")
    if not GUID.fullmatch(value):
        raise Broken("guid_format")
    return value


def time(value: Any) -> str:
    if not isinstance(value, str) or not TIME.fullmatch(value):
        raise Broken("time_format")
    try:
        datetime.fromisoformat(value)
    except ValueError:
        raise Broken("time_format") from None
    return value


def day(value: Any) -> str:
    if not isinstance(value, str) or not DATE.fullmatch(value):
        raise Broken("date_format")
    try:
        date.fromisoformat(value)
    except ValueError:
        raise Broken("date_format") from None
    return value


def truth(value: Any) -> str:
    if value not in (0, 1) or not isinstance(value, int):
        raise Broken("type")
    return "t" if value else "f"


def whole(value: Any) -> str:
    if not isinstance(value, int):
        raise Broken("type")
    return str(value)


READERS: dict[str, Column] = {
    "text": text,
    "uuid": guid,
    "timestamptz": time,
    "date": day,
    "boolean": truth,
    "bigint": whole,
}


class SQLiteVisit:
    takes_copy = False

    def __init__(self, wrapper: BaseDatabaseWrapper) -> None:
        self.wrapper = wrapper

    def read_events(
        self, sources: Sequence[Source], *, limit: int, beyond: dict[str, int]
    ) -> list[Events]:
        self.wrapper.ensure_connection()
        raw = self.wrapper.connection
        before = raw.text_factory
        # Broken bytes must reach us, row by row, instead of failing the whole fetch.
        raw.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")
        try:
            # A deferred read transaction: one snapshot, and no write lock against the till.
            raw.execute("BEGIN DEFERRED")
            return [self._read(raw, source, limit, beyond) for source in sources]
        finally:
            raw.execute("ROLLBACK")
            raw.text_factory = before

    def _read(self, raw: Any, source: Source, limit: int, beyond: dict[str, int]) -> Events:
        columns = ", ".join(f'"{column}"' for column in source.columns)
        rows = raw.execute(
            f'SELECT "replication_counter", {columns} FROM "{source.table}" '  # noqa: S608
            'WHERE "acknowledged_at" IS NULL AND "replication_counter" > ? '
            'ORDER BY "replication_counter" LIMIT ?',
            [beyond.get(source.table, 0), limit],
        )
        readers = [READERS[name] for name in source.types]
        required = source.columns.index("event_id")
        events = Events(source.table, keys=[])
        lines = []
        for counter, *values in rows:
            try:
                lines.append(line(values, readers, source.columns, required))
                events.keys.append((counter, values[required]))
            except BrokenRow as broken:
                events.keys.append((counter, None))
                events.unreadable.append(
                    Unreadable(counter, broken.reason, broken.field, tuple(values))
                )
        events.rows = len(lines)
        events.data = "".join(lines).encode()
        events.last_counter = events.keys[-1][0] if events.keys else 0
        return events

    def acknowledge(self, events: Sequence[Events]) -> None:
        now = timezone.now().isoformat()
        with transaction.atomic(using=self.wrapper.alias):
            for batch in events:
                # By counter, because a row without a usable id has nothing else; a usable id makes
                # sure that it is still the same row.
                self.wrapper.connection.executemany(
                    f'UPDATE "{batch.table}" SET "acknowledged_at" = ? '  # noqa: S608
                    'WHERE "replication_counter" = ? AND "event_id" = coalesce(?, "event_id") '
                    'AND "acknowledged_at" IS NULL',
                    [(now, counter, event_id) for counter, event_id in batch.keys],
                )

    def apply(self, packages: Sequence[Package], *, session: UUID, part: int, job: str) -> int:
        raw = self.wrapper.connection
        with transaction.atomic(using=self.wrapper.alias):
            known = raw.execute(
                'SELECT 1 FROM "applied_session" WHERE "session_id" = ? AND "part" = ?',
                [str(session), part],
            )
            if known.fetchone():
                return 0
            written: int = sum(
                raw.executemany(upsert(package), package.rows).rowcount for package in packages
            )
            raw.execute(
                'INSERT INTO "applied_session" ("session_id", "part", "job", "rows", "applied_at") '
                "VALUES (?, ?, ?, ?, ?)",
                [str(session), part, job, written, timezone.now().isoformat()],
            )
            return written


class BrokenRow(Exception):
    """A row holds a value that breaks its column's form."""

    def __init__(self, reason: str, field: str) -> None:
        super().__init__(reason)
        self.reason, self.field = reason, field


def line(
    values: Sequence[Any], readers: Sequence[Column], columns: Sequence[str], required: int
) -> str:
    """One row in COPY's text format. Errors: BrokenRow for the first value out of form."""
    fields = []
    for place, (value, reader) in enumerate(zip(values, readers, strict=True)):
        if value is None:
            if place == required:
                raise BrokenRow("key_missing", columns[place])
            fields.append(r"\N")
            continue
        try:
            fields.append(reader(value))
        except Broken as error:
            # Without its id an event cannot be told from another one.
            reason = "key_missing" if place == required else str(error)
            raise BrokenRow(reason, columns[place]) from None
    return "\t".join(fields) + "\n"


def upsert(package: Package) -> str:
    """INSERT of one row; a newer version replaces an older one, anything else stays."""
    target = package.target
    columns = ", ".join(f'"{column}"' for column in target.columns)
    key = ", ".join(f'"{column}"' for column in target.key)
    marks = ", ".join("?" for _ in target.columns)
    action = "NOTHING"
    if target.version:
        changed = [column for column in target.columns if column not in target.key]
        newer = ", ".join(f'"{column}" = excluded."{column}"' for column in changed)
        action = f'UPDATE SET {newer} WHERE excluded."{target.version}" > "{target.version}"'
    return (
        f'INSERT INTO "{target.table}" ({columns}) VALUES ({marks}) '  # noqa: S608
        f"ON CONFLICT ({key}) DO {action}"
    )
