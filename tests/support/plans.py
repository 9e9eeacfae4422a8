"""How PostgreSQL would run a statement, whatever earlier tests had in the tables."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.db import connection, transaction
from psycopg2 import sql

FORGET_STATISTICS = """
    DELETE FROM pg_statistic
     WHERE starelid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)"""
FORGET_SIZES = """
    UPDATE pg_class SET reltuples = -1, relpages = 0
     WHERE relnamespace = 'public'::regnamespace"""


@contextmanager
def never_analyzed() -> Iterator[None]:
    """Let the planner know nothing of the tables, in a transaction that is rolled back."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(FORGET_STATISTICS)
        cursor.execute(FORGET_SIZES)
        yield
        transaction.set_rollback(True)


def plan_of(statement: str | sql.Composable, parameters: Mapping[str, Any] | None = None) -> str:
    """The plan of a statement, a line for each node."""
    composed = sql.SQL(statement) if isinstance(statement, str) else statement
    with connection.cursor() as cursor:
        cursor.execute(sql.SQL("EXPLAIN {}").format(composed), parameters)
        return "\n".join(line for (line,) in cursor.fetchall())
