"""Work tables: temporary tables of HQ that are made, handed over as values, and dropped.

Whoever reads or writes one is given it; no function knows one by its name alone.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg2 import sql

from stores.hqdb.sql import Name, Params, Query, as_composable, fetch_value, run_sql, with_names


class WorkTable(sql.Identifier):
    """A temporary table of HQ, and its name in statements: `FROM {incoming}`.

    `rows` is how many it was made with.
    """

    def __init__(self, name: str, rows: int = 0) -> None:
        super().__init__(name)
        self.name, self.rows = name, rows

    def count(self) -> int:
        return int(fetch_value("SELECT count(*) FROM {table}", table=self))

    def clear(self) -> None:
        run_sql("TRUNCATE {table}", table=self)

    def add_index(self, column: str) -> None:
        """Let it be searched by a column, row by row, where a plan compares all rows otherwise."""
        run_sql("CREATE INDEX ON {table} ({column})", table=self, column=sql.Identifier(column))

    def analyze(self) -> None:
        """Tell the planner what is in it, where a plan depends on that."""
        run_sql("ANALYZE {table}", table=self)


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
    name: str, query: Query, params: Params = None, /, **names: Name
) -> Iterator[WorkTable]:
    """A work table of what a query finds, for a part of the caller's transaction."""
    table = WorkTable(name, run_sql(creation_from(name, with_names(query, names)), params))
    yield table
    drop(table)


@contextmanager
def session_table(name: str, columns: Query) -> Iterator[WorkTable]:
    """A work table of these columns that lasts over several transactions of one connection."""
    table = WorkTable(name)
    run_sql(sql.SQL("CREATE TEMP TABLE {} ({})").format(table, as_composable(columns)))
    try:
        yield table
    finally:
        drop(table)


def drop(table: WorkTable) -> None:
    run_sql("DROP TABLE {table}", table=table)
