"""A visit to a channel in a SQLite file: strict reading of columns that may hold anything."""

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.utils import timezone

from stores.channeldb.connect.connection import lacking_columns
from stores.channeldb.exchange.copy import from_text
from stores.channeldb.exchange.protocol import (
    GUID_FORM,
    ISSUED_KEY,
    MAX_BATCH_BYTES,
    MAX_REPORTED_CONTRADICTIONS,
    ChannelState,
    Contradiction,
    EventBatch,
    EventTable,
    NonceRefused,
    PositionMove,
    PositionMoved,
    TableData,
    Target,
    Unreadable,
    VisitToken,
    highest_of,
    parse_settings,
    parse_state,
)
from stores.channeldb.exchange.sqlite_values import (
    COPY_READERS,
    READERS,
    InvalidRow,
    copy_line,
    is_plain_text,
)
from stores.channeldb.schema.tables import EVENT_TABLES
from stores.failpoints import failpoint

WRITE_SETTING = (
    'INSERT INTO "channel_setting" ("key", "value") VALUES (?, ?) '
    'ON CONFLICT ("key") DO UPDATE SET "value" = excluded."value"'
)


class SQLiteVisit:
    def __init__(self, wrapper: BaseDatabaseWrapper) -> None:
        self.wrapper = wrapper

    def excess_privileges(self) -> list[str]:
        return []

    def state(self) -> ChannelState | None:
        self.wrapper.ensure_connection()
        raw = self.wrapper.connection
        # What SQLite has counted up to, also where the rows are gone.
        counted = dict(raw.execute('SELECT "name", "seq" FROM "sqlite_sequence"'))
        return parse_state(
            raw.execute(
                'SELECT "database_id", "epoch", "nonce", "account_high", "positions", '
                '(SELECT "value" FROM "channel_setting" WHERE "key" = ?) FROM "exchange_state"',
                [ISSUED_KEY],
            ).fetchall(),
            {table.name: counted.get(table.name, 0) for table in EVENT_TABLES},
        )

    def fence(self, seen: VisitToken, token: VisitToken) -> bool:
        with transaction.atomic(using=self.wrapper.alias):
            changed = self.wrapper.connection.execute(
                'UPDATE "exchange_state" SET "epoch" = ?, "nonce" = ?, "updated_at" = ? '
                'WHERE "epoch" = ? AND "nonce" = ?',
                [
                    token.epoch,
                    str(token.nonce),
                    timezone.now().isoformat(),
                    seen.epoch,
                    str(seen.nonce),
                ],
            )
            return bool(changed.rowcount)

    def _require(self, nonce: UUID) -> None:
        """Go on only if no later visit has come; none can while we hold the write lock."""
        row = self.wrapper.connection.execute(
            'SELECT 1 FROM "exchange_state" WHERE "nonce" = ?', [str(nonce)]
        )
        if not row.fetchone():
            raise NonceRefused

    def read_events(
        self, sources: Sequence[EventTable], *, limit: int, beyond: dict[str, int]
    ) -> list[EventBatch]:
        self.wrapper.ensure_connection()
        raw = self.wrapper.connection
        before = raw.text_factory
        # Broken bytes must reach us, row by row, instead of failing the whole fetch.
        raw.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")
        try:
            # A deferred read transaction: one snapshot, and no write lock against the till.
            raw.execute("BEGIN DEFERRED")
            lacking = lacking_columns(self.wrapper.alias)
            return [
                self._read(raw, replace(source, lacking=lacking), limit, beyond)
                for source in sources
            ]
        finally:
            raw.execute("ROLLBACK")
            raw.text_factory = before

    def _read(self, raw: Any, source: EventTable, limit: int, beyond: dict[str, int]) -> EventBatch:
        parts = [self._read_part(raw, source, part, limit, beyond) for part in source.parts]
        reader = RowReader(source, parts)
        after, step = beyond.get(source.table, 0), limit
        while len(reader.keys) < limit and reader.size <= MAX_BATCH_BYTES:
            before = after
            try:
                for counter, *values in raw.execute(reader.query, [after, step]):
                    reader.add(counter, values)
                    after = counter
                    if reader.size > MAX_BATCH_BYTES:
                        break
                if step > 1 or after == before:
                    break
            except sqlite3.DataError:
                # A value that is larger than the connection reads. The driver looks a row ahead, so
                # from here on one at a time, to know which it is.
                if step == 1:
                    [(after,)] = raw.execute(reader.next_query, [after])
                    reader.left.append(after)
                step = 1
        return reader.events()

    def event_ids(self, table: str) -> tuple[bytes, bool]:
        rows = self.wrapper.connection.execute(
            f'SELECT CAST("event_id" AS BLOB) FROM "{table}"'  # noqa: S608 - our own names
        )
        texts = (value.decode("ascii", "replace") for (value,) in rows)
        return "".join(f"{text}\n" for text in texts if GUID_FORM.fullmatch(text)).encode(), False

    def accounts_of(self, guids: Sequence[str]) -> dict[str, tuple[str, str]]:
        accounts = {}
        for guid in guids:
            row = self.wrapper.connection.execute(
                'SELECT "company", "account_number" FROM "account_map" WHERE "async_account" = ?',
                [guid],
            ).fetchone()
            if row:
                accounts[guid] = row
        return accounts

    def _read_part(
        self, raw: Any, source: EventTable, part: EventTable, limit: int, beyond: dict[str, int]
    ) -> "PartReader":
        """The rows of one table that travel with the documents of this batch."""
        columns = ", ".join(f'"{column}"' for column in part.columns)
        rows = f'SELECT {columns} FROM "{part.table}" WHERE "transaction_id"'  # noqa: S608
        documents = (
            f'SELECT "transaction_id" FROM "{source.table}" WHERE {source.is_read} '  # noqa: S608
            'AND "replication_counter" > ? ORDER BY "replication_counter" LIMIT ?'
        )
        bounds = [beyond.get(source.table, 0), limit]
        reader = PartReader(part)
        try:
            reader.add(raw.execute(f"{rows} IN ({documents})", bounds))
        except sqlite3.DataError:
            # A value that is larger than the connection reads: document by document, to know whose.
            reader = PartReader(part)
            for (document,) in raw.execute(documents, bounds).fetchall():
                try:
                    reader.add(raw.execute(f"{rows} = ?", [document]).fetchall())
                except sqlite3.DataError:
                    reader.too_large.add(document)
        return reader

    def acknowledge(self, events: Sequence[EventBatch], *, nonce: UUID) -> dict[str, int]:
        now = timezone.now().isoformat()
        vanished: dict[str, int] = {}
        with transaction.atomic(using=self.wrapper.alias):
            self._require(nonce)
            raw = self.wrapper.connection
            for batch in events:
                # By counter, because a row without a usable id has nothing else; a usable id makes
                # sure that it is still the same row.
                held = [key for key in batch.keys if key[0] not in batch.waiting]
                condition = '"replication_counter" = ? AND "event_id" = coalesce(?, "event_id")'
                marked = raw.executemany(
                    f'UPDATE "{batch.table}" SET "acknowledged_at" = ? '  # noqa: S608
                    f'WHERE {condition} AND "acknowledged_at" IS NULL',
                    [(now, *key) for key in held],
                ).rowcount
                if marked < len(held):
                    there = f'SELECT 1 FROM "{batch.table}" WHERE {condition}'  # noqa: S608
                    missing = sum(raw.execute(there, key).fetchone() is None for key in held)
                    vanished |= {batch.table: missing} if missing else {}
            failpoint("upload:before_acknowledge")
        return vanished

    def reopen(self, table: str, counters: Sequence[int], *, nonce: UUID) -> int:
        with transaction.atomic(using=self.wrapper.alias):
            self._require(nonce)
            done = self.wrapper.connection.executemany(
                f'UPDATE "{table}" SET "acknowledged_at" = NULL '  # noqa: S608 - our own names
                'WHERE "replication_counter" = ? AND "acknowledged_at" IS NOT NULL',
                [(counter,) for counter in counters],
            )
            return int(done.rowcount)

    def note_issued(self, issued: dict[str, int], *, nonce: UUID) -> None:
        with transaction.atomic(using=self.wrapper.alias):
            self._require(nonce)
            state = self.state()
            self._raise_issued(highest_of(state.issued if state else {}, issued))

    def correct_heights(
        self, account_high: dict[str, int], issued: dict[str, int], *, nonce: UUID
    ) -> None:
        with transaction.atomic(using=self.wrapper.alias):
            self._require(nonce)
            self.wrapper.connection.execute(
                'UPDATE "exchange_state" SET "account_high" = ?', [json.dumps(account_high)]
            )
            self._raise_issued(issued)

    def _raise_issued(self, issued: dict[str, int]) -> None:
        self.wrapper.connection.execute(WRITE_SETTING, [ISSUED_KEY, json.dumps(issued)])

    def read_settings(self, keys: Sequence[str]) -> dict[str, Any]:
        self.wrapper.ensure_connection()
        marks = ", ".join("?" for _ in keys)
        # As bytes, because a value may be anything.
        held = self.wrapper.connection.execute(
            'SELECT "key", CAST("value" AS BLOB) FROM "channel_setting" '  # noqa: S608 - only marks
            f'WHERE "key" IN ({marks})',
            list(keys),
        )
        return parse_settings(held.fetchall())

    def write_settings(self, settings: dict[str, Any], *, nonce: UUID) -> None:
        with transaction.atomic(using=self.wrapper.alias):
            self._require(nonce)
            self.wrapper.connection.executemany(
                WRITE_SETTING, [(key, json.dumps(value)) for key, value in settings.items()]
            )

    def apply(
        self,
        tables: Sequence[TableData],
        *,
        session: UUID,
        part: int,
        job: str,
        nonce: UUID,
        following: VisitToken | None = None,
        high: dict[str, int] | None = None,
        move: PositionMove | None = None,
    ) -> int:
        raw = self.wrapper.connection
        with transaction.atomic(using=self.wrapper.alias):
            self._require(nonce)
            if following:
                raw.execute(
                    'UPDATE "exchange_state" SET "epoch" = ?, "nonce" = ?, "updated_at" = ?',
                    [following.epoch, str(following.nonce), timezone.now().isoformat()],
                )
            known = raw.execute(
                'SELECT 1 FROM "applied_session" WHERE "session_id" = ? AND "part" = ?',
                [str(session), part],
            )
            if known.fetchone():
                return 0
            rows = [(table.target, list(decoded_rows(table))) for table in tables]
            for target, values in rows:
                self._refuse_contradictions(target, values)
            written: int = sum(
                raw.executemany(upsert(target), values).rowcount
                for target, values in rows
                if values
            )
            if move:
                self._move(move)
            raw.execute(
                'INSERT INTO "applied_session" ("session_id", "part", "job", "rows", "applied_at") '
                "VALUES (?, ?, ?, ?, ?)",
                [str(session), part, job, written, timezone.now().isoformat()],
            )
            if high:
                self._raise_account_high(high)
            failpoint("download:before_channel_commit")
            return written

    def _move(self, move: PositionMove) -> None:
        state = self.state()
        positions = state.positions if state else {}
        if positions.get(move.company, 0) != move.seen:
            raise PositionMoved
        self.wrapper.connection.execute(
            'UPDATE "exchange_state" SET "positions" = ?',
            [json.dumps(positions | {move.company: move.to})],
        )

    def _refuse_contradictions(self, target: Target, rows: Sequence[Sequence[Any]]) -> None:
        """See that no fixed column of a row that is there would change. Errors: Contradiction."""
        if not target.immutable:
            return
        columns = ", ".join(f'"{column}"' for column in target.immutable)
        key = " AND ".join(f'"{column}" = ?' for column in target.key)
        here = f'SELECT {columns} FROM "{target.table}" WHERE {key}'  # noqa: S608 - our own names
        changed = []
        for row in rows:
            sent = dict(zip(target.columns, row, strict=True))
            its_key = [sent[column] for column in target.key]
            values = [sent[column] for column in target.immutable]
            stored = self.wrapper.connection.execute(here, its_key).fetchone() or ()
            pairs = zip(stored, values, strict=False)
            if any(old != new for old, new in pairs if None not in (old, new)):
                changed.append([":".join(map(str, part)) for part in (its_key, stored, values)])
        if changed:
            raise Contradiction(target.table, len(changed), changed[:MAX_REPORTED_CONTRADICTIONS])

    def _raise_account_high(self, high: dict[str, int]) -> None:
        """Remember the highest number of each company; it never falls."""
        state = self.state()
        known = state.account_high if state else {}
        self.wrapper.connection.execute(
            'UPDATE "exchange_state" SET "account_high" = ?', [json.dumps(highest_of(known, high))]
        )


class RowReader:
    """Rows of one event table, one after the other, those out of form set aside."""

    def __init__(self, source: EventTable, parts: Sequence["PartReader"]) -> None:
        columns = ", ".join(
            "NULL" if column in source.lacking else f'"{column}"' for column in source.columns
        )
        waiting = f'FROM "{source.table}" WHERE {source.is_read} AND "replication_counter" > ?'
        self.query = (
            f'SELECT "replication_counter", {columns} {waiting} '
            'ORDER BY "replication_counter" LIMIT ?'
        )
        self.next_query = f'SELECT min("replication_counter") {waiting}'
        self.source = source
        self.readers = [READERS[name] for name in source.types]
        self.required = source.columns.index("event_id")
        self.parts = parts
        self.document = source.columns.index("transaction_id") if parts else self.required
        self.lines: list[str] = []
        self.keys: list[tuple[int, Any]] = []
        self.unreadable: list[Unreadable] = []
        self.left: list[int] = []
        self.unread: dict[int, dict[str, Any]] = {}
        self.size = 0

    def add(self, counter: int, values: Sequence[Any]) -> None:
        if any(values[self.document] in part.too_large for part in self.parts):
            self.left.append(counter)
            return
        try:
            text = self.line(counter, values)
            for part in self.parts:
                part.require_valid(values[self.document])
            self.lines.append(text)
            self.keys.append((counter, values[self.required]))
            self.size += len(self.lines[-1])
        except InvalidRow as broken:
            self.keys.append((counter, None))
            parts = {part.table: part.rows.get(values[self.document], []) for part in self.parts}
            self.unreadable.append(
                Unreadable(counter, broken.reason, broken.field, tuple(values), parts=parts)
            )
            self.size += sum(len(value) for value in values if isinstance(value, (str, bytes)))

    def line(self, counter: int, values: Sequence[Any]) -> str:
        """A row as COPY text, without an optional value that is out of form. Errors: InvalidRow."""
        try:
            return copy_line(values, self.readers, self.source.columns, self.required)
        except InvalidRow as broken:
            value = values[self.source.columns.index(broken.field)]
            if broken.field not in self.source.optional or not is_plain_text(value):
                raise
            accepted = [
                None if column == broken.field else cell
                for column, cell in zip(self.source.columns, values, strict=True)
            ]
            text = copy_line(accepted, self.readers, self.source.columns, self.required)
            self.unread[counter] = {broken.field: value}
            return text

    def events(self) -> EventBatch:
        return EventBatch(
            self.source.table,
            rows=len(self.lines),
            data="".join(self.lines).encode(),
            last_counter=self.keys[-1][0] if self.keys else 0,
            keys=self.keys,
            unreadable=self.unreadable,
            unread=self.unread,
            parts={part.table: part.data for part in self.parts},
            oversized=self.left[:MAX_REPORTED_CONTRADICTIONS],
        )


class PartReader:
    """Rows that travel with documents: COPY data of the whole ones, and which documents they break.

    `rows` keeps them as found, by document, for those that are set aside; `too_large` are documents
    with a row that cannot be carried.
    """

    def __init__(self, part: EventTable) -> None:
        self.table, self.columns = part.table, part.columns
        self.readers = [READERS[name] for name in part.types]
        self.rows: dict[Any, list[tuple[Any, ...]]] = {}
        self.broken: dict[Any, InvalidRow] = {}
        self.too_large: set[Any] = set()
        self.lines: list[str] = []

    def add(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Add rows. Errors: sqlite3.DataError at one that is too large."""
        required = self.columns.index("line_number")
        document = self.columns.index("transaction_id")
        for values in rows:
            self.rows.setdefault(values[document], []).append(values)
            try:
                self.lines.append(copy_line(values, self.readers, self.columns, required))
            except InvalidRow as broken:
                self.broken.setdefault(values[document], broken)

    @property
    def data(self) -> bytes:
        return "".join(self.lines).encode()

    def require_valid(self, document: Any) -> None:
        """Raise what is wrong with a row of the document. Errors: InvalidRow."""
        if broken := self.broken.get(document):
            raise broken


def decoded_rows(table: TableData) -> Iterator[tuple[Any, ...]]:
    """The rows of COPY data, as SQLite is to hold them (contract, section 3)."""
    readers = [COPY_READERS.get(name, from_text) for name in table.target.types]
    for line in table.data.decode().split("\n")[:-1]:
        yield tuple(read(value) for read, value in zip(readers, line.split("\t"), strict=True))


def upsert(target: Target) -> str:
    """INSERT of one row; a newer version replaces an older one, anything else stays."""
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
