"""How an invariant is checked: queries must find nothing wrong, and the database must have rules.

A rule is a constraint, unique index or trigger that guards the invariant.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection
from psycopg2 import sql

from stores.hqdb.sql import Name, Query, as_composable, fetch, fetch_value, listed, with_names
from stores.hqdb.work_table import WorkTable
from stores.messages.message import Message

MAX_OFFENDING = 20


@dataclass(frozen=True)
class Check:
    """The result for one invariant.

    `checked` is how many rows were looked at, `offending` the first that break the invariant, and
    `late` how many are not processed yet, which does not break it.
    """

    id: str
    title: Message
    ok: bool
    checked: int
    offending: list[dict[str, Any]]
    late: int = 0


# Each finds out whether there is a rule: it exists, is validated and enabled.
RULE_QUERIES = {
    "constraint": """SELECT FROM pg_constraint
         WHERE conrelid = to_regclass(rule."table") AND conname = rule.name AND convalidated
           AND NOT EXISTS (SELECT FROM pg_trigger
                            WHERE tgconstraint = pg_constraint.oid AND tgenabled = 'D')""",
    "unique index": """SELECT FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
         WHERE indrelid = to_regclass(rule."table") AND relname = rule.name
           AND indisunique AND indisvalid""",
    "trigger": """SELECT FROM pg_trigger
         WHERE tgrelid = to_regclass(rule."table") AND tgname = rule.name
           AND tgenabled IN ('O', 'A')""",
}


@dataclass(frozen=True)
class DatabaseRule:
    """A rule of HQ's database. `kind` is a key of RULE_QUERIES."""

    kind: str
    table: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name} on {self.table}"


def missing_rules(rules: Sequence[DatabaseRule]) -> set[DatabaseRule]:
    """Return those of the rules that HQ's database does not have."""
    missing: set[DatabaseRule] = set()
    for kind, query in RULE_QUERIES.items():
        of_kind = [rule for rule in rules if rule.kind == kind]
        if of_kind:
            found = fetch(
                f"""SELECT rule."table", rule.name
                      FROM unnest(%s::text[], %s::text[]) rule ("table", name)
                     WHERE NOT EXISTS ({query} OFFSET 0)""",  # noqa: S608 - our own queries
                [[rule.table for rule in of_kind], [rule.name for rule in of_kind]],
            )
            missing |= {DatabaseRule(kind, table, name) for table, name in found}
    return missing


def check_result(
    id: str,
    title: Message,
    checked: int,
    *requirements: DatabaseRule | Query | list[dict[str, Any]],
    names: Mapping[str, Name] | None = None,
    late: int = 0,
) -> Check:
    """Return the check of an invariant: it holds if each rule exists and each query finds nothing.

    A requirement may also be a list of offending rows that the caller has found. `names` fill the
    holes of the queries.
    """
    missing = missing_rules([rule for rule in requirements if isinstance(rule, DatabaseRule)])
    offending: list[dict[str, Any]] = []
    for requirement in requirements:
        if isinstance(requirement, DatabaseRule):
            offending += [{"missing": str(requirement)}] if requirement in missing else []
        elif isinstance(requirement, list):
            offending += requirement
        else:
            offending += offending_rows(requirement, **(names or {}))
    return Check(id, title, not offending, checked, offending[:MAX_OFFENDING], late)


def offending_rows(statement: Query, /, **names: Name) -> list[dict[str, Any]]:
    """Return the first rows of a query that looks for what is wrong, each as a dict."""
    query = as_composable(with_names(statement, names))
    with connection.cursor() as cursor:
        cursor.execute(
            sql.SQL("SELECT * FROM ({}) breach LIMIT {}").format(query, sql.Literal(MAX_OFFENDING))
        )
        columns = [column.name for column in cursor.description]
        return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]


def differing_columns(expected: Mapping[str, sql.Composable], *, of: str) -> sql.Composed:
    """Return SQL for the name of each column of a row that has not its expected value, or NULL."""
    return listed(
        sql.SQL("CASE WHEN {} IS DISTINCT FROM {} THEN {} END").format(
            sql.Identifier(of, column), value, sql.Literal(column)
        )
        for column, value in expected.items()
    )


def count_rows(table: str | WorkTable, condition: str = "true") -> int:
    name = sql.Identifier(table) if isinstance(table, str) else table
    statement = sql.SQL("SELECT count(*) FROM {} WHERE {}").format(name, sql.SQL(condition))
    return int(fetch_value(statement))
