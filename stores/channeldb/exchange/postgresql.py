"""A visit to a channel on PostgreSQL: COPY in both directions."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg2 import errors, sql

from stores.channeldb.connect.connection import lacking_columns
from stores.channeldb.connect.timeouts import MAX_VALUE_BYTES
from stores.channeldb.exchange.copy import (
    BatchTooLarge,
    columns_of,
    copy_from_channel,
    copy_to_channel,
    qualified,
)
from stores.channeldb.exchange.encoding import copy_parts, read_around_undecodable
from stores.channeldb.exchange.protocol import (
    ISSUED_KEY,
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
    VisitToken,
    highest_of,
    parse_settings,
    parse_state,
)
from stores.channeldb.schema.grants import excess_privileges
from stores.channeldb.schema.tables import EVENT_TABLES
from stores.failpoints import failpoint
from stores.hqdb.sql import assignments, identifiers

# A table that its owner has emptied is told by its sequence, where HQ's role may look at that.
SEQUENCE = "pg_get_serial_sequence('public.{table}', 'replication_counter')"
# With max() the planner would look for two ways to the highest.
COUNTER = f"""coalesce(
    (SELECT replication_counter FROM public.{{table}} ORDER BY replication_counter DESC LIMIT 1),
    CASE WHEN has_sequence_privilege({SEQUENCE}, 'SELECT')
         THEN coalesce(pg_sequence_last_value({SEQUENCE}::regclass), 0) END)"""  # noqa: S608 - as below
COUNTERS = ", ".join(
    f"'{table.name}', {COUNTER.format(table=table.name)}" for table in EVENT_TABLES
)
STATE = f"""
    SELECT database_id, epoch, nonce, account_high::text, positions::text,
           (SELECT value::text FROM public.channel_setting WHERE key = %s),
           json_build_object({COUNTERS})::text
      FROM public.exchange_state"""  # noqa: S608 - our own names

WRITE_SETTING = """
    INSERT INTO public.channel_setting (key, value) VALUES (%s, %s)
        ON CONFLICT (key) DO UPDATE SET value = excluded.value"""


class PostgreSQLVisit:
    def __init__(self, wrapper: BaseDatabaseWrapper) -> None:
        self.wrapper = wrapper

    def excess_privileges(self) -> list[str]:
        return excess_privileges(self.wrapper)

    def state(self) -> ChannelState | None:
        with self.wrapper.cursor() as cursor:
            cursor.execute(STATE, [ISSUED_KEY])
            rows = cursor.fetchall()
        counters = json.loads(rows[0][-1]) if rows else {}
        return parse_state(
            [row[:-1] for row in rows],
            {table: counter for table, counter in counters.items() if counter is not None},
        )

    def fence(self, seen: VisitToken, token: VisitToken) -> bool:
        with transaction.atomic(using=self.wrapper.alias), self.wrapper.cursor() as cursor:
            # FOR UPDATE waits also for visits that acknowledge at this moment: see _require.
            cursor.execute("SELECT 1 FROM public.exchange_state FOR UPDATE")
            cursor.execute(
                "UPDATE public.exchange_state SET epoch = %s, nonce = %s, updated_at = now() "
                "WHERE epoch = %s AND nonce = %s",
                [token.epoch, str(token.nonce), seen.epoch, str(seen.nonce)],
            )
            return bool(cursor.rowcount)

    def _require(self, cursor: Any, nonce: UUID) -> None:
        """Go on only if no later visit has come; none can until this transaction ends.

        A key share, so that one visit may acknowledge while another applies.
        """
        cursor.execute(
            "SELECT 1 FROM public.exchange_state WHERE nonce = %s FOR KEY SHARE", [str(nonce)]
        )
        if not cursor.fetchone():
            raise NonceRefused

    def read_events(
        self, sources: Sequence[EventTable], *, limit: int, beyond: dict[str, int]
    ) -> list[EventBatch]:
        while True:
            try:
                with transaction.atomic(using=self.wrapper.alias), self.wrapper.cursor() as cursor:
                    # One snapshot for all tables: a child is never seen without its parent.
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                    # The statistics may be of a day when one sale had all the lines; then all lines
                    # would be read for each sale.
                    cursor.execute("SET LOCAL enable_seqscan = off")
                    lacking = lacking_columns(self.wrapper.alias)
                    filled = self._filled(cursor, sources)
                    return [
                        self._read(
                            cursor,
                            replace(source, lacking=lacking),
                            limit,
                            beyond.get(source.table, 0),
                        )
                        if source.table in filled
                        else EventBatch(source.table)
                        for source in sources
                    ]
            except BatchTooLarge:
                limit = max(1, limit // 8)

    def _filled(self, cursor: Any, sources: Sequence[EventTable]) -> set[str]:
        """The tables with any row to read, which are few at most visits: one trip tells of all."""
        looks = [
            sql.SQL("EXISTS (SELECT FROM {} WHERE {})").format(
                qualified(source.table), sql.SQL(source.is_read)
            )
            for source in sources
        ]
        cursor.execute(sql.SQL("SELECT {}").format(sql.SQL(", ").join(looks)))
        found = zip(sources, cursor.fetchone(), strict=True)
        return {source.table for source, is_filled in found if is_filled}

    def _read(self, cursor: Any, source: EventTable, limit: int, beyond: int) -> EventBatch:
        waiting = sql.SQL(
            "FROM {} WHERE {} AND replication_counter > {} AND {} <= {} "
            "ORDER BY replication_counter LIMIT {}"
        ).format(
            qualified(source.table),
            sql.SQL(source.is_read),
            sql.Literal(beyond),
            size_of(source),
            sql.Literal(MAX_VALUE_BYTES),
            sql.Literal(limit),
        )
        try:
            with transaction.atomic(using=self.wrapper.alias):
                rows, data = copy_from_channel(
                    cursor, sql.SQL("SELECT {} ").format(columns_of(source)) + waiting
                )
                parts = copy_parts(cursor, source, waiting)
        except (errors.CharacterNotInRepertoire, errors.UntranslatableCharacter):
            return read_around_undecodable(cursor, source, waiting)
        if not rows:
            return EventBatch(source.table, oversized=self._oversized(cursor, source))
        _, ids = copy_from_channel(cursor, sql.SQL("SELECT event_id ") + waiting)
        cursor.execute(
            sql.SQL(
                "SELECT max(replication_counter) FROM (SELECT replication_counter {}) t"
            ).format(waiting)
        )
        last = cursor.fetchone()[0]
        return EventBatch(
            source.table, rows, data, binary=True, last_counter=last, keys=ids, parts=parts
        )

    def _oversized(self, cursor: Any, source: EventTable) -> list[int]:
        """Rows that wait and are too large to be carried; asked when no others wait."""
        cursor.execute(
            sql.SQL(
                "SELECT replication_counter FROM {} WHERE {} AND {} > {} ORDER BY 1 LIMIT {}"
            ).format(
                qualified(source.table),
                sql.SQL(source.is_read),
                size_of(source),
                sql.Literal(MAX_VALUE_BYTES),
                sql.Literal(MAX_REPORTED_CONTRADICTIONS),
            )
        )
        return [counter for (counter,) in cursor.fetchall()]

    def event_ids(self, table: str) -> tuple[bytes, bool]:
        with transaction.atomic(using=self.wrapper.alias), self.wrapper.cursor() as cursor:
            _, data = copy_from_channel(
                cursor, sql.SQL("SELECT event_id FROM {}").format(qualified(table))
            )
            return data, True

    def accounts_of(self, guids: Sequence[str]) -> dict[str, tuple[str, str]]:
        with self.wrapper.cursor() as cursor:
            cursor.execute(
                "SELECT async_account::text, company, account_number FROM public.account_map "
                "WHERE async_account = ANY(%s::uuid[])",
                [list(guids)],
            )
            return {guid: (company, account) for guid, company, account in cursor.fetchall()}

    def acknowledge(self, events: Sequence[EventBatch], *, nonce: UUID) -> dict[str, int]:
        vanished: dict[str, int] = {}
        with transaction.atomic(using=self.wrapper.alias), self.wrapper.cursor() as cursor:
            self._require(cursor, nonce)
            for batch in events:
                held = f"held_{batch.table}"
                cursor.execute(
                    sql.SQL("CREATE TEMP TABLE {} (event_id uuid) ON COMMIT DROP").format(
                        sql.Identifier(held)
                    )
                )
                copy_to_channel(
                    cursor, sql.Identifier(held), ("event_id",), batch.keys, binary=True
                )
                cursor.execute(
                    sql.SQL(
                        "UPDATE {} e SET acknowledged_at = now() FROM {} held "
                        "WHERE e.event_id = held.event_id AND e.acknowledged_at IS NULL "
                        "AND e.replication_counter <> ALL (%s)"
                    ).format(qualified(batch.table), sql.Identifier(held)),
                    [batch.waiting],
                )
                if cursor.rowcount < batch.total and (
                    missing := self._count_missing(cursor, batch, held)
                ):
                    vanished[batch.table] = missing
            failpoint("upload:before_acknowledge")
        return vanished

    def _count_missing(self, cursor: Any, batch: EventBatch, held: str) -> int:
        cursor.execute(
            sql.SQL(
                "SELECT count(*) FROM {} held WHERE NOT EXISTS "
                "(SELECT FROM {} e WHERE e.event_id = held.event_id)"
            ).format(sql.Identifier(held), qualified(batch.table))
        )
        return int(cursor.fetchone()[0])

    def reopen(self, table: str, counters: Sequence[int], *, nonce: UUID) -> int:
        with transaction.atomic(using=self.wrapper.alias), self.wrapper.cursor() as cursor:
            self._require(cursor, nonce)
            cursor.execute(
                sql.SQL(
                    "UPDATE {} SET acknowledged_at = NULL "
                    "WHERE replication_counter = ANY(%s) AND acknowledged_at IS NOT NULL"
                ).format(qualified(table)),
                [list(counters)],
            )
            return int(cursor.rowcount)

    def note_issued(self, issued: dict[str, int], *, nonce: UUID) -> None:
        with transaction.atomic(using=self.wrapper.alias), self.wrapper.cursor() as cursor:
            self._require(cursor, nonce)
            state = self.state()
            self._raise_issued(cursor, highest_of(state.issued if state else {}, issued))

    def correct_heights(
        self, account_high: dict[str, int], issued: dict[str, int], *, nonce: UUID
    ) -> None:
        with transaction.atomic(using=self.wrapper.alias), self.wrapper.cursor() as cursor:
            self._require(cursor, nonce)
            cursor.execute(
                "UPDATE public.exchange_state SET account_high = %s", [json.dumps(account_high)]
            )
            self._raise_issued(cursor, issued)

    def _raise_issued(self, cursor: Any, issued: dict[str, int]) -> None:
        cursor.execute(WRITE_SETTING, [ISSUED_KEY, json.dumps(issued)])

    def read_settings(self, keys: Sequence[str]) -> dict[str, Any]:
        with self.wrapper.cursor() as cursor:
            cursor.execute(
                "SELECT key, value::text FROM public.channel_setting WHERE key = ANY(%s)",
                [list(keys)],
            )
            return parse_settings(cursor.fetchall())

    def write_settings(self, settings: dict[str, Any], *, nonce: UUID) -> None:
        with transaction.atomic(using=self.wrapper.alias), self.wrapper.cursor() as cursor:
            self._require(cursor, nonce)
            for key, value in settings.items():
                cursor.execute(WRITE_SETTING, [key, json.dumps(value)])

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
        with transaction.atomic(using=self.wrapper.alias), self.wrapper.cursor() as cursor:
            self._require(cursor, nonce)
            if following:
                self._advance_token(cursor, nonce, following)
            cursor.execute(
                "INSERT INTO public.applied_session (session_id, part, job, rows, applied_at) "
                "VALUES (%s, %s, %s, 0, now()) ON CONFLICT DO NOTHING",
                [str(session), part, job],
            )
            if not cursor.rowcount:
                return 0
            written = sum(self._write(cursor, table) for table in tables if table.data)
            if move:
                self._move(cursor, move)
            cursor.execute(
                "UPDATE public.applied_session SET rows = %s WHERE session_id = %s AND part = %s",
                [written, str(session), part],
            )
            if high:
                self._raise_account_high(cursor, high)
            failpoint("download:before_channel_commit")
            return written

    def _advance_token(self, cursor: Any, nonce: UUID, token: VisitToken) -> None:
        """Put a new pair in the place of the latest; another visit may have come meanwhile."""
        cursor.execute(
            "UPDATE public.exchange_state SET epoch = %s, nonce = %s, updated_at = now() "
            "WHERE nonce = %s",
            [token.epoch, str(token.nonce), str(nonce)],
        )
        if not cursor.rowcount:
            raise NonceRefused

    def _move(self, cursor: Any, move: PositionMove) -> None:
        cursor.execute(
            """UPDATE public.exchange_state
                  SET positions = positions || jsonb_build_object(%(company)s, %(to)s)
                WHERE coalesce((positions ->> %(company)s)::bigint, 0) = %(seen)s""",
            {"company": move.company, "seen": move.seen, "to": move.to},
        )
        if not cursor.rowcount:
            raise PositionMoved

    def _raise_account_high(self, cursor: Any, high: dict[str, int]) -> None:
        """Remember the highest number of each company; it never falls."""
        cursor.execute(
            """UPDATE public.exchange_state
                  SET account_high = account_high || (
                        SELECT jsonb_object_agg(key, greatest(value::bigint,
                                                              (account_high ->> key)::bigint))
                          FROM jsonb_each_text(%s::jsonb))""",
            [json.dumps(high)],
        )

    def _write(self, cursor: Any, table: TableData) -> int:
        if table.is_first and (rows := self._copy(cursor, table)) is not None:
            return rows
        return self._upsert(cursor, table)

    def _copy(self, cursor: Any, table: TableData) -> int | None:
        """Copy straight into the table, in half the time; None if a row is there after all."""
        target = table.target
        try:
            with transaction.atomic(using=self.wrapper.alias):
                copy_to_channel(
                    cursor, qualified(target.table), target.columns, table.data, binary=False
                )
                return int(cursor.rowcount)
        except errors.UniqueViolation:
            return None

    def _upsert(self, cursor: Any, table: TableData) -> int:
        target, incoming = table.target, f"in_{table.target.table}"
        cursor.execute(
            sql.SQL("CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA").format(
                sql.Identifier(incoming), identifiers(target.columns), qualified(target.table)
            )
        )
        copy_to_channel(cursor, sql.Identifier(incoming), target.columns, table.data, binary=False)
        if target.immutable:
            refuse_contradictions(cursor, target, incoming)
        cursor.execute(upsert(target, incoming))
        return int(cursor.rowcount)


def refuse_contradictions(cursor: Any, target: Target, source: str) -> None:
    """See that no fixed column of a row that is there would change. Errors: Contradiction."""
    cursor.execute(
        sql.SQL(
            """SELECT count(*) OVER (), concat_ws(':', {key}), concat_ws(':', {here}),
                      concat_ws(':', {sent})
                 FROM {table} here JOIN {source} sent USING ({key}) WHERE {changed} LIMIT {most}"""
        ).format(
            key=identifiers(target.key),
            here=identifiers(target.immutable, of="here"),
            sent=identifiers(target.immutable, of="sent"),
            table=qualified(target.table),
            source=sql.Identifier(source),
            changed=sql.SQL(" OR ").join(
                sql.SQL("here.{0} <> sent.{0}").format(sql.Identifier(column))
                for column in target.immutable
            ),
            most=sql.Literal(MAX_REPORTED_CONTRADICTIONS),
        )
    )
    if rows := cursor.fetchall():
        raise Contradiction(target.table, rows[0][0], [row[1:] for row in rows])


def upsert(target: Target, source: str) -> sql.Composed:
    """INSERT from a table; a newer version replaces an older one, anything else stays."""
    action: sql.Composable = sql.SQL("NOTHING")
    if target.version:
        action = sql.SQL("UPDATE SET {} WHERE excluded.{} > old.{}").format(
            assignments(
                [column for column in target.columns if column not in target.key], of="excluded"
            ),
            sql.Identifier(target.version),
            sql.Identifier(target.version),
        )
    return sql.SQL("INSERT INTO {} AS old ({}) SELECT {} FROM {} ON CONFLICT ({}) DO {}").format(
        qualified(target.table),
        identifiers(target.columns),
        identifiers(target.columns),
        sql.Identifier(source),
        identifiers(target.key),
        action,
    )


def size_of(source: EventTable) -> sql.Composable:
    """The bytes of a row's texts and of what travels with it; the server need not read them."""
    sizes = [texts_of(source)]
    for part in source.parts:
        sizes.append(
            sql.SQL("(SELECT coalesce(sum({}), 0) FROM {} p WHERE p.transaction_id = {})").format(
                texts_of(part, "p"),
                qualified(part.table),
                sql.Identifier(source.table, "transaction_id"),
            )
        )
    return sql.SQL(" + ").join(sizes)


def texts_of(source: EventTable, *alias: str) -> sql.Composable:
    sizes = [
        sql.SQL("coalesce(octet_length({}), 0)").format(sql.Identifier(*alias, column))
        for column, kind in zip(source.columns, source.types, strict=True)
        if kind == "text"
    ]
    return sql.SQL(" + ").join([sql.Literal(0), *sizes])
