"""How a check is put together: queries that look for what is wrong, and rules of the database."""

from dataclasses import dataclass
from typing import Any

from django.db import connection
from psycopg2 import sql

from stores.hqdb.sql import Query, fetch_one

# What a run that began so long after a row was there must have dealt with. Earlier it is late, and
# as long as no run comes by, it stays late: that is for the scheduler to answer, not the data.
GRACE = "interval '5 minutes'"
# How many breaches are named; one is enough to worry.
MAX_OFFENDING = 20


@dataclass(frozen=True)
class Check:
    """Whether one invariant holds, over how many rows, and the first that break it."""

    id: str
    title: str
    ok: bool
    checked: int
    offending: list[dict[str, Any]]
    # Rows that are not there yet because work is under way; late and no breach.
    late: int = 0


@dataclass(frozen=True)
class DatabaseRule:
    """A rule of HQ's database by which an invariant is kept even when Python is wrong."""

    kind: str
    table: str
    name: str


def check_result(
    id: str, title: str, checked: int, *breaches: list[dict[str, Any]], late: int = 0
) -> Check:
    """The verdict: whatever breaks the invariant is named."""
    offending = [breach for rows in breaches for breach in rows]
    return Check(id, title, not offending, checked, offending[:MAX_OFFENDING], late)


def offending_rows(statement: Query) -> list[dict[str, Any]]:
    query = statement if isinstance(statement, sql.Composable) else sql.SQL(statement)
    with connection.cursor() as cursor:
        cursor.execute(
            sql.SQL("SELECT * FROM ({}) breach LIMIT {}").format(query, sql.Literal(MAX_OFFENDING))
        )
        columns = [column.name for column in cursor.description]
        return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


def count_rows(table: str, condition: str = "true") -> int:
    return int(fetch_one(f"SELECT count(*) FROM {table} WHERE {condition}")[0])  # noqa: S608


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
    """The guards that are missing, not valid or switched off."""
    return [
        {"missing": f"{rule.kind} {rule.name} on {rule.table}"}
        for rule in rules
        if not fetch_one(
            f"SELECT EXISTS ({RULE_QUERIES[rule.kind]})", {"table": rule.table, "name": rule.name}
        )[0]
    ]
