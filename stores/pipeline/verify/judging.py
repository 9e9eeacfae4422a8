"""How a check is put together: queries that look for what is wrong, and rules of the database."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from stores.pipeline.bulk import fetch_one

# How many breaches are named; one is enough to worry.
NAMED = 20


@dataclass(frozen=True)
class Check:
    """Whether one invariant holds, over how many rows, and the first that break it."""

    id: str
    title: str
    ok: bool
    checked: int
    offending: list[dict[str, Any]]


@dataclass(frozen=True)
class Guard:
    """A rule of HQ's database by which an invariant is kept even when Python is wrong."""

    kind: str
    table: str
    name: str


def judged(id: str, title: str, checked: int, *breaches: list[dict[str, Any]]) -> Check:
    """The verdict: whatever breaks the invariant is named."""
    offending = [breach for found in breaches for breach in found]
    return Check(id, title, not offending, checked, offending[:NAMED])


def found(statement: str, params: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """The first rows of a query that looks for what is wrong."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM ({statement}) breach LIMIT {NAMED}", params or None)  # noqa: S608
        columns = [column.name for column in cursor.description]
        return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


def count(table: str, condition: str = "true") -> int:
    """The rows of one of our tables."""
    return int(fetch_one(f"SELECT count(*) FROM {table} WHERE {condition}")[0])  # noqa: S608


GUARDED = {
    "constraint": """SELECT FROM pg_constraint c
         WHERE c.conrelid = to_regclass(%(table)s) AND c.conname = %(name)s AND c.convalidated
           AND NOT EXISTS (SELECT FROM pg_trigger t
                            WHERE t.tgconstraint = c.oid AND t.tgenabled = 'D')""",
    "foreign key": """SELECT FROM pg_constraint c
         WHERE c.conrelid = to_regclass(%(table)s) AND c.confrelid = to_regclass(%(name)s)
           AND c.contype = 'f' AND c.convalidated
           AND NOT EXISTS (SELECT FROM pg_trigger t
                            WHERE t.tgconstraint = c.oid AND t.tgenabled = 'D')""",
    "unique index": """SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
         WHERE i.indrelid = to_regclass(%(table)s) AND c.relname = %(name)s
           AND i.indisunique AND i.indisvalid""",
    "trigger": """SELECT FROM pg_trigger t
         WHERE t.tgrelid = to_regclass(%(table)s) AND t.tgname = %(name)s
           AND t.tgenabled IN ('O', 'A')""",
}


def unguarded(*guards: Guard) -> list[dict[str, Any]]:
    """The guards that are missing, not valid or switched off."""
    return [
        {"missing": f"{guard.kind} {guard.name} on {guard.table}"}
        for guard in guards
        if not fetch_one(
            f"SELECT EXISTS ({GUARDED[guard.kind]})", {"table": guard.table, "name": guard.name}
        )[0]
    ]
