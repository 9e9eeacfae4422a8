"""Work tables: temporary tables of HQ that are made, handed over as values, and dropped.

Whoever reads or writes one is given it; no function knows one by its name alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from psycopg2 import sql

from stores.hqdb.sql import Query, as_composable, fetch_one, run_sql


@dataclass(frozen=True)
class WorkTable:
    """A temporary table of HQ; `rows` is how many it was made with."""

    name: str
    rows: int = 0

    @property
    def identifier(self) -> sql.Identifier:
        """The name for a statement: `FROM {incoming}`."""
        return sql.Identifier(self.name)

    def count(self) -> int:
        (rows,) = fetch_one(sql.SQL("SELECT count(*) FROM {}").format(self.identifier))
        return int(rows)

    def empty(self) -> None:
        run_sql(sql.SQL("TRUNCATE {}").format(self.identifier))


def creation(name: str, columns: Query) -> sql.Composed:
    return sql.SQL("CREATE TEMP TABLE {} ({}) ON COMMIT DROP").format(
        sql.Identifier(name), as_composable(columns)
    )


def creation_from(name: str, query: Query) -> sql.Composed:
    return sql.SQL("CREATE TEMP TABLE {} ON COMMIT DROP AS\n{}").format(
        sql.Identifier(name), as_composable(query)
    )


@contextmanager
def empty_table(name: str, columns: Query) -> Iterator[WorkTable]:
    """A work table of these columns, for a part of the caller's transaction, which drops it."""
    table = WorkTable(name)
    run_sql(creation(name, columns))
    yield table
    drop(table)


@contextmanager
def query_table(
    name: str, query: Query, params: Mapping[str, Any] | Sequence[Any] | None = None
) -> Iterator[WorkTable]:
    """A work table of what a query finds, for a part of the caller's transaction."""
    table = WorkTable(name, run_sql(creation_from(name, query), params))
    yield table
    drop(table)


@contextmanager
def session_table(name: str, columns: Query) -> Iterator[WorkTable]:
    """A work table of these columns that lasts over several transactions of one connection."""
    table = WorkTable(name)
    run_sql(sql.SQL("CREATE TEMP TABLE {} ({})").format(table.identifier, as_composable(columns)))
    try:
        yield table
    finally:
        drop(table)


def drop(table: WorkTable) -> None:
    run_sql(sql.SQL("DROP TABLE {}").format(table.identifier))
