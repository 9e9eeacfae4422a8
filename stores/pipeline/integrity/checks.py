"""The parts of a check: queries for what is wrong, and rules that the database must have."""

from dataclasses import dataclass
from typing import Any

from django.db import connection
from psycopg2 import sql

from stores.hqdb.sql import Name, Query, as_composable, fetch_one, with_names
from stores.hqdb.work_table import WorkTable

# A run that started this long after a row was written must have processed the row. Until such a run
# the row is late, which is not an error.
GRACE = "interval '5 minutes'"
MAX_OFFENDING = 20


@dataclass(frozen=True)
class Check:
    """The result for one invariant: whether it holds, and the first rows that break it."""

    id: str
    title: str
    ok: bool
    checked: int
    offending: list[dict[str, Any]]
    # Rows that are not processed yet, which does not break the invariant.
    late: int = 0


@dataclass(frozen=True)
class DatabaseRule:
    """A constraint, unique index or trigger of HQ's database that guards an invariant."""

    kind: str
    table: str
    name: str


def check_result(
    id: str, title: str, checked: int, *breaches: list[dict[str, Any]], late: int = 0
) -> Check:
    offending = [breach for rows in breaches for breach in rows]
    return Check(id, title, not offending, checked, offending[:MAX_OFFENDING], late)


def offending_rows(statement: Query, /, **names: Name) -> list[dict[str, Any]]:
    """The first rows of a query that looks for what is wrong."""
    query = as_composable(with_names(statement, names))
    with connection.cursor() as cursor:
        cursor.execute(
            sql.SQL("SELECT * FROM ({}) breach LIMIT {}").format(query, sql.Literal(MAX_OFFENDING))
        )
        columns = [column.name for column in cursor.description]
        return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


def count_rows(table: str | WorkTable, condition: str = "true") -> int:
    name = sql.Identifier(table) if isinstance(table, str) else table
    statement = sql.SQL("SELECT count(*) FROM {} WHERE {}").format(name, sql.SQL(condition))
    return int(fetch_one(statement)[0])


RULE_QUERIES = {
    "constraint": """SELECT FROM pg_constraint c
         WHERE c.conrelid = to_regclass(%(table)s) AND c.conname = %(name)s AND c.convalidated
           AND NOT EXISTS (SELECT FROM pg_trigger t
                            WHERE t.tgconstraint = c.oid AND t.tgenabled = 'D')""",
    "unique index": """SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
         WHERE i.indrelid = to_regclass(%(table)s) AND c.relname = %(name)s
           AND i.indisunique AND i.indisvalid""",
    "trigger": """SELECT FROM pg_trigger t
         WHERE t.tgrelid = to_regclass(%(table)s) AND t.tgname = %(name)s
           AND t.tgenabled IN ('O', 'A')""",
}


def missing_rules(*rules: DatabaseRule) -> list[dict[str, Any]]:
    """The rules that are missing, not validated or disabled."""
    return [
        {"missing": f"{rule.kind} {rule.name} on {rule.table}"}
        for rule in rules
        if not fetch_one(
            f"SELECT EXISTS ({RULE_QUERIES[rule.kind]})", {"table": rule.table, "name": rule.name}
        )[0]
    ]
