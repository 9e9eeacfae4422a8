"""A visit to a channel on PostgreSQL: COPY in both directions."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg2 import errors, sql

from stores.channeldb.visit import Events, Package, Source, Target

BLOCK = 1 << 18


class PostgreSQLVisit:
    takes_copy = True

    def __init__(self, wrapper: BaseDatabaseWrapper) -> None:
        self.wrapper = wrapper

    def read_events(
        self, sources: Sequence[Source], *, limit: int, beyond: dict[str, int]
    ) -> list[Events]:
        with transaction.atomic(using=self.wrapper.alias), self.wrapper.cursor() as cursor:
            # One snapshot for all tables: a child is never seen without its earlier parent.
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            return [
                self._read(cursor, source, limit, beyond.get(source.table, 0)) for source in sources
            ]

    def _read(self, cursor: Any, source: Source, limit: int, beyond: int) -> Events:
        waiting = sql.SQL(
            "FROM {} WHERE acknowledged_at IS NULL AND replication_counter > {} "
            "ORDER BY replication_counter LIMIT {}"
        ).format(qualified(source.table), sql.Literal(beyond), sql.Literal(limit))
        rows, data = copy_out(cursor, sql.SQL("SELECT {} ").format(names(source.columns)) + waiting)
        if not rows:
            return Events(source.table)
        _, ids = copy_out(cursor, sql.SQL("SELECT event_id ") + waiting)
        cursor.execute(
            sql.SQL(
                "SELECT max(replication_counter) FROM (SELECT replication_counter {}) t"
            ).format(waiting)
        )
        last = cursor.fetchone()[0]
        return Events(source.table, rows, data, binary=True, last_counter=last, keys=ids)

    def acknowledge(self, events: Sequence[Events]) -> None:
        with transaction.atomic(using=self.wrapper.alias), self.wrapper.cursor() as cursor:
            for batch in events:
                held = f"held_{batch.table}"
                cursor.execute(
                    sql.SQL("CREATE TEMP TABLE {} (event_id uuid) ON COMMIT DROP").format(
                        sql.Identifier(held)
                    )
                )
                copy_in(cursor, sql.Identifier(held), ("event_id",), batch.keys)
                cursor.execute(
                    sql.SQL(
                        "UPDATE {} e SET acknowledged_at = now() FROM {} held "
                        "WHERE e.event_id = held.event_id AND e.acknowledged_at IS NULL"
                    ).format(qualified(batch.table), sql.Identifier(held))
                )

    def apply(self, packages: Sequence[Package], *, session: UUID, part: int, job: str) -> int:
        with transaction.atomic(using=self.wrapper.alias), self.wrapper.cursor() as cursor:
            cursor.execute(
                "INSERT INTO public.applied_session (session_id, part, job, rows, applied_at) "
                "VALUES (%s, %s, %s, 0, now()) ON CONFLICT DO NOTHING",
                [str(session), part, job],
            )
            if not cursor.rowcount:
                return 0
            written = sum(self._write(cursor, package) for package in packages if package.data)
            cursor.execute(
                "UPDATE public.applied_session SET rows = %s WHERE session_id = %s AND part = %s",
                [written, str(session), part],
            )
            return written

    def _write(self, cursor: Any, package: Package) -> int:
        if package.is_first and (rows := self._copy(cursor, package)) is not None:
            return rows
        return self._upsert(cursor, package)

    def _copy(self, cursor: Any, package: Package) -> int | None:
        """Copy straight into the table, in half the time; None if a row is there after all."""
        try:
            with transaction.atomic(using=self.wrapper.alias):
                copy_in(
                    cursor, qualified(package.target.table), package.target.columns, package.data
                )
                return int(cursor.rowcount)
        except errors.UniqueViolation:
            return None

    def _upsert(self, cursor: Any, package: Package) -> int:
        target, incoming = package.target, f"in_{package.target.table}"
        cursor.execute(
            sql.SQL("CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT {} FROM {} WITH NO DATA").format(
                sql.Identifier(incoming), names(target.columns), qualified(target.table)
            )
        )
        copy_in(cursor, sql.Identifier(incoming), target.columns, package.data)
        cursor.execute(upsert(target, incoming))
        return int(cursor.rowcount)


def upsert(target: Target, source: str) -> sql.Composed:
    """INSERT from a table; a newer version replaces an older one, anything else stays."""
    action: sql.Composable = sql.SQL("NOTHING")
    if target.version:
        action = sql.SQL("UPDATE SET {} WHERE excluded.{} > old.{}").format(
            sql.SQL(", ").join(
                sql.SQL("{0} = excluded.{0}").format(sql.Identifier(column))
                for column in target.columns
                if column not in target.key
            ),
            sql.Identifier(target.version),
            sql.Identifier(target.version),
        )
    return sql.SQL("INSERT INTO {} AS old ({}) SELECT {} FROM {} ON CONFLICT ({}) DO {}").format(
        qualified(target.table),
        names(target.columns),
        names(target.columns),
        sql.Identifier(source),
        names(target.key),
        action,
    )


def qualified(table: str) -> sql.Composed:
    """The table in schema public, whatever the search path says."""
    return sql.SQL("{}.{}").format(sql.Identifier("public"), sql.Identifier(table))


def names(columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def copy_out(cursor: Any, query: sql.Composable) -> tuple[int, bytes]:
    """Rows and bytes of a query in binary COPY format."""
    data = BytesIO()
    cursor.copy_expert(
        sql.SQL("COPY ({}) TO STDOUT (FORMAT binary)").format(query), data, size=BLOCK
    )
    return int(cursor.rowcount), data.getvalue()


def copy_in(cursor: Any, table: sql.Composable, columns: Sequence[str], data: bytes) -> None:
    cursor.copy_expert(
        sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(table, names(columns)),
        BytesIO(data),
        size=BLOCK,
    )
