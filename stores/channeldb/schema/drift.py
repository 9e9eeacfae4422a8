"""Are a channel's tables still the ones that Syncline made? Asked before each visit.

Tills rely on the tables and the guards in them, and so does HQ: a trigger that somebody switched
off, or a column of another type, must stop the visit before anything is read. A channel may have
columns that can be null, tables, views, indexes and AFTER triggers of its own beside ours.

What is looked at is told in facts, such as "column async_customer.email" -> "text". They are read
only if a quick look finds something: on PostgreSQL that of `unchanged`; SQLite keeps the words its
schema was made with, which are compared as they are.

Source: reliability 3.10 and 3.11.
"""

import hashlib
import re
import sqlite3
from collections.abc import Iterator
from functools import cache
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from stores.channeldb.schema import ddl, triggers
from stores.channeldb.schema.tables import CHANNEL_TABLES, NO_COLUMNS, Column, Table
from stores.channeldb.schema.unchanged import is_unchanged

Facts = dict[str, str]

MAX_NAME_LENGTH = 80
SWITCHED_OFF = "switched off "
UNEXPECTED = "must not be there"
REPORTED_IN_FULL = ("table ", "view ", "column ", "key ")


def differences(wrapper: BaseDatabaseWrapper, *, lacking: frozenset[str] = NO_COLUMNS) -> list[str]:
    """What is different from the schema that HQ knows, in sentences without a full stop.

    A channel of an older version has not the `lacking` columns. One round trip if nothing is
    different. Errors: those of the driver.
    """
    if wrapper.vendor == "postgresql":
        if is_unchanged(wrapper, lacking):
            return []
    elif sqlite_definitions(wrapper.connection) == expected_sqlite(lacking)[0]:
        return []
    return compare_facts(*facts_of(wrapper, lacking))


def drifted_objects(wrapper: BaseDatabaseWrapper) -> dict[str, str]:
    """What holds no rows and is missing or changed, with the statement that makes it.

    Errors: those of the driver.
    """
    helpers = ddl.object_statements(ddl.vendor_of(wrapper))
    expected, actual = facts_of(wrapper, NO_COLUMNS)
    return {
        thing: statement
        for thing, statement in helpers.items()
        if actual.get(thing) != expected[thing]
    }


def facts_of(wrapper: BaseDatabaseWrapper, lacking: frozenset[str]) -> tuple[Facts, Facts]:
    """The facts of an unchanged channel, and those of this one."""
    if wrapper.vendor == "postgresql":
        with wrapper.cursor() as cursor:
            cursor.execute(READ_FACTS, fact_parameters(lacking))
            return postgresql_facts(lacking), dict(cursor.fetchall())
    return expected_sqlite(lacking)[1], sqlite_facts(wrapper.connection)


def compare_facts(expected: Facts, actual: Facts) -> list[str]:
    """Say what is missing, changed or added, table by table."""
    lines = []
    for thing in sorted(expected.keys() | actual.keys(), key=lambda thing: thing.split(" ", 1)[1]):
        if thing not in actual:
            lines.append(f"{thing} is missing")
        elif thing not in expected:
            lines.append(f"{printable(thing)} {UNEXPECTED}")
        elif expected[thing] != actual[thing]:
            lines.append(f"{thing} {describe_change(thing, expected[thing], actual[thing])}")
    # Of a table that is gone, its columns and triggers are no news.
    missing = [line.split()[1] for line in lines if re.fullmatch(r"table \w+ is missing", line)]
    return [
        line
        for line in lines
        if line.startswith("table ") or not any(belongs_to(line, table) for table in missing)
    ]


def can_be_recreated(lines: list[str]) -> bool:
    """Whether differences are only about what `ddl.helpers` makes."""
    kinds = tuple(f"{kind.lower()} " for kind in ddl.OBJECT_KINDS)
    return all(line.startswith(kinds) and not line.endswith(UNEXPECTED) for line in lines)


def belongs_to(line: str, table: str) -> bool:
    """Whether a difference is about something within a table."""
    return line.split()[1].partition(".")[0] == table


def describe_change(thing: str, expected: str, actual: str) -> str:
    """How two descriptions differ; definitions are not repeated."""
    if actual == f"{SWITCHED_OFF}{expected}":
        return "is switched off"
    if not thing.startswith(REPORTED_IN_FULL):
        return "is not as Syncline made it"
    return f"is {printable(actual)}, not {expected}"


def printable(name: str) -> str:
    """A name from a channel, fit for a sentence: no control characters, no end of its own."""
    return "".join(c if c.isprintable() else "?" for c in name)[:MAX_NAME_LENGTH]


def normalized_definition(words: str) -> str:
    """A definition without what engines and their versions write differently."""
    return re.sub(r'[\s()"]|pg_catalog\.|public\.', "", words.lower())


# ---------------------------------------------------------------- PostgreSQL
# Names of types and definitions as the catalogue gives them. Beside what is expected, facts name
# what would change the meaning of our statements: columns that must be filled, triggers that could
# swallow a row, rules, and functions or operators in `public` that could be taken for the server's
# own (those of extensions are no surprise). While it asks, `public` is not on the search path.

READ_FACTS = r"""
SET LOCAL search_path = pg_catalog;
WITH ours AS (
    SELECT oid, relname, relkind, relpersistence, relrowsecurity FROM pg_class
     WHERE relnamespace = 'public'::regnamespace AND relname = ANY (%(tables)s)
), keys AS (
    SELECT DISTINCT t.relname || '.' || (
               SELECT string_agg(a.attname, ',' ORDER BY k.place)
                 FROM unnest(i.indkey::int2[]) WITH ORDINALITY k (number, place)
                 JOIN pg_attribute a ON (a.attrelid, a.attnum) = (t.oid, k.number)) AS columns
      FROM ours t JOIN pg_index i ON i.indrelid = t.oid
     WHERE i.indisunique AND i.indisvalid AND i.indimmediate
       AND i.indpred IS NULL AND i.indexprs IS NULL
), planted AS (
    SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
), facts (thing, description) AS (
    SELECT 'table ' || relname,
           CASE relkind WHEN 'r' THEN 'a table' WHEN 'v' THEN 'a view'
                        WHEN 'm' THEN 'a materialized view' WHEN 'f' THEN 'a foreign table'
                        ELSE 'something else' END
           || CASE relpersistence WHEN 'p' THEN '' ELSE ' that a crash empties' END
           || CASE WHEN relrowsecurity THEN ' with row security' ELSE '' END
      FROM ours WHERE relname <> 'customer_lookup'
    UNION ALL
    SELECT 'view ' || relname, CASE relkind WHEN 'v' THEN 'a view' ELSE 'something else' END
      FROM ours WHERE relname = 'customer_lookup'
    UNION ALL
    SELECT 'column ' || t.relname || '.' || a.attname,
           format_type(a.atttypid, a.atttypmod)
           || CASE WHEN a.attnotnull THEN ' not null' ELSE '' END
           || CASE a.attidentity WHEN '' THEN '' WHEN 'a' THEN ' identity' ELSE ' default' END
           || CASE a.attgenerated WHEN '' THEN '' ELSE ' generated' END
      FROM ours t JOIN pg_attribute a ON a.attrelid = t.oid
     WHERE a.attnum > 0 AND NOT a.attisdropped AND t.relname <> 'customer_lookup'
       AND (a.attnotnull OR t.relname || '.' || a.attname = ANY (%(columns)s))
    UNION ALL
    SELECT 'key ' || columns, 'unique' FROM keys WHERE columns = ANY (%(keys)s)
    UNION ALL
    SELECT 'index ' || t.relname || '.' || c.relname,
           CASE WHEN i.indisvalid THEN '' ELSE 'unusable ' END
           || regexp_replace(lower(pg_get_indexdef(c.oid)), '[\s()"]|public\.', '', 'g')
      FROM ours t JOIN pg_index i ON i.indrelid = t.oid JOIN pg_class c ON c.oid = i.indexrelid
     WHERE t.relname || '.' || c.relname = ANY (%(indexes)s)
    UNION ALL
    SELECT 'trigger ' || t.relname || '.' || g.tgname,
           CASE WHEN g.tgenabled IN ('O', 'A') THEN '' ELSE 'switched off ' END
           || regexp_replace(lower(pg_get_triggerdef(g.oid)),
                             '[\s()"]|pg_catalog\.|public\.', '', 'g')
      FROM ours t JOIN pg_trigger g ON g.tgrelid = t.oid
     WHERE NOT g.tgisinternal
       -- 66: BEFORE or INSTEAD OF. An AFTER trigger can neither change nor swallow the row.
       AND (g.tgtype & 66 <> 0 OR t.relname || '.' || g.tgname = ANY (%(triggers)s))
    UNION ALL
    SELECT 'rule ' || t.relname || '.' || r.rulename, 'a rule'
      FROM ours t JOIN pg_rewrite r ON r.ev_class = t.oid
     WHERE r.rulename <> '_RETURN'
    UNION ALL
    SELECT 'function ' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')',
           CASE WHEN p.pronargs = 0 AND p.proname = ANY (%(functions)s)
                THEN encode(sha256(convert_to(l.lanname || array_to_string(p.proconfig, ',')
                                              || p.prosrc, 'UTF8')), 'hex')
                ELSE 'planted' END
      FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
     WHERE p.pronamespace = 'public'::regnamespace
       AND (p.proname = ANY (%(functions)s)
            OR EXISTS (SELECT FROM pg_proc s WHERE s.proname = p.proname
                          AND s.pronamespace = 'pg_catalog'::regnamespace))
       AND NOT EXISTS (SELECT FROM planted WHERE classid = 'pg_proc'::regclass AND objid = p.oid)
    UNION ALL
    SELECT 'operator ' || o.oprname || '(' || format_type(o.oprleft, NULL) || ', '
           || format_type(o.oprright, NULL) || ')', 'planted'
      FROM pg_operator o
     WHERE o.oprnamespace = 'public'::regnamespace
       AND NOT EXISTS (SELECT FROM planted
                        WHERE classid = 'pg_operator'::regclass AND objid = o.oid)
)
SELECT thing, description FROM facts"""
TYPE_NAMES = {
    "counter": "bigint not null identity",
    "time": "timestamp with time zone",
}


@cache
def postgresql_facts(lacking: frozenset[str]) -> Facts:
    """The facts of a channel as the migrations make it."""
    facts = {}
    for table in (table.without(lacking) for table in CHANNEL_TABLES):
        facts[f"table {table.name}"] = "a table"
        for column in table.columns:
            facts[f"column {table.name}.{column.name}"] = postgresql_column(table, column)
        counter = ("replication_counter",) if table.triggers == "event" else ()
        for key in (table.key, *((name,) for name in (*table.unique, *counter))):
            facts[f"key {table.name}.{','.join(key)}"] = "unique"
    return facts | {
        thing: postgresql_object(thing, statement)
        for thing, statement in ddl.object_statements("postgresql", lacking=lacking).items()
    }


def postgresql_object(thing: str, statement: str) -> str:
    """How the catalogue describes what a statement makes."""
    kind, name = thing.split(" ", 1)
    if kind == "view":
        return "a view"
    if kind == "function":
        return postgresql_function(statement)
    if kind == "index":
        on = f" ON public.{name.partition('.')[0]}"
        return normalized_definition(statement.replace(on, f"{on} USING btree"))
    return normalized_definition(statement)


def postgresql_column(table: Table, column: Column) -> str:
    """The type as format_type() gives it, and whether it must be filled."""
    name = TYPE_NAMES.get(column.kind, ddl.COLUMN_TYPES["postgresql"][column.kind])
    must = column.required or column.name in table.key
    return name + (" not null" if must else "")


def postgresql_function(statement: str) -> str:
    """A digest of the language, settings and body of a function."""
    before, body, _ = statement.split("$$")
    settings = [f"{name}={value}" for name, value in re.findall(r"SET (\w+) = (\w+)", before)]
    return hashlib.sha256(f"plpgsql{','.join(settings)}{body}".encode()).hexdigest()


@cache
def fact_parameters(lacking: frozenset[str]) -> dict[str, list[str]]:
    """What the query must know to leave a channel's own things aside."""
    names: dict[str, list[str]] = {}
    for thing in postgresql_facts(lacking):
        kind, name = thing.split(" ", 1)
        names.setdefault(kind, []).append(name)
    return {
        "tables": names["table"] + names["view"],
        "columns": names["column"],
        "keys": names["key"],
        "indexes": names["index"],
        "triggers": names["trigger"],
        "functions": list(triggers.POSTGRESQL_FUNCTIONS),
    }


# -------------------------------------------------------------------- SQLite

LOOKUP_NAME = "customer_lookup"
OUR_NAMES = [*(table.name for table in CHANNEL_TABLES), LOOKUP_NAME]
# A trigger that comes after the row can no longer swallow it; BEFORE is what SQLite assumes.
AFTER_TRIGGER = re.compile(
    r"CREATE\s+(TEMP\w*\s+)?TRIGGER\s+(\[.*?\]|\".*?\"|\S+)\s+AFTER\b", re.I | re.S
)


def sqlite_definitions(raw: Any) -> dict[str, str]:
    """What each of our tables, indexes, triggers and views was made with, by its name."""
    marks = ", ".join("?" for _ in OUR_NAMES)
    return dict(
        raw.execute(
            "SELECT type || ' ' || name, sql FROM sqlite_master "  # noqa: S608 - marks only
            f"WHERE lower(tbl_name) IN ({marks}) AND sql IS NOT NULL",
            OUR_NAMES,
        )
    )


@cache
def expected_sqlite(lacking: frozenset[str]) -> tuple[dict[str, str], Facts]:
    """Words and facts of an unchanged channel, asked of one that is made for it in memory."""
    memory = sqlite3.connect(":memory:")
    try:
        for statement in ddl.statements("sqlite", lacking=lacking):
            memory.execute(statement)
        return sqlite_definitions(memory), sqlite_facts(memory)
    finally:
        memory.close()


def sqlite_facts(raw: Any) -> Facts:
    """The facts of a SQLite channel, whose schema may be written in other words than ours."""
    facts: Facts = {}
    for thing, words in sqlite_definitions(raw).items():
        kind, name = thing.lower().split(" ", 1)
        if kind in ("table", "view"):
            facts[f"{'view' if name == LOOKUP_NAME else 'table'} {name}"] = sqlite_kind(words)
    for table in CHANNEL_TABLES:
        facts.update(sqlite_columns(raw, table))
        facts.update(sqlite_keys(raw, table))
    facts.update(sqlite_objects(raw))
    return facts


def sqlite_kind(words: str) -> str:
    """What a CREATE made; of a table also what tells how its rows are numbered."""
    start = words.lower().split("(")[0].split()[1:2]
    rest = normalized_definition(words.rpartition(")")[2])
    numbered = " with AUTOINCREMENT" if "autoincrement" in words.lower() else ""
    return " ".join(["a", *start]) + numbered + (" without rowid" if "withoutrowid" in rest else "")


def sqlite_columns(raw: Any, table: Table) -> Iterator[tuple[str, str]]:
    """Columns that are ours, and others that must be filled."""
    for _, name, kind, must, _, place, hidden in raw.execute(f"PRAGMA table_xinfo({table.name})"):
        if must or name.lower() in table.column_names:
            words = [kind.upper(), "not null" if must else "", "in the key" if place else ""]
            words.append("generated" if hidden else "")
            yield f"column {table.name}.{name.lower()}", " ".join(filter(None, words))


def sqlite_keys(raw: Any, table: Table) -> Iterator[tuple[str, str]]:
    """What is unique and ours, and how its texts are compared."""
    ours = {*((name,) for name in ("event_id", *table.unique)), table.key}
    for _, index, is_unique, _, is_partial in raw.execute(f"PRAGMA index_list({table.name})"):
        parts = [
            (name, how)
            for _, _, name, _, how, is_key in raw.execute(
                "SELECT * FROM pragma_index_xinfo(?)", [index]
            )
            if is_key
        ]
        columns = tuple(name for name, _ in parts)
        if is_unique and not is_partial and columns in ours:
            ways = {how for _, how in parts}
            yield f"key {table.name}.{','.join(columns)}", " ".join(["unique", *sorted(ways)])


def sqlite_objects(raw: Any) -> Iterator[tuple[str, str]]:
    """Indexes and triggers that are ours, and triggers that could swallow a row."""
    for kind, name, table, words in raw.execute(
        "SELECT type, name, lower(tbl_name), sql FROM sqlite_master"
        " WHERE type IN ('index', 'trigger') AND sql IS NOT NULL"
    ):
        is_ours = f"{kind} {table}.{name}" in sqlite_object_names()
        swallows = kind == "trigger" and table in OUR_NAMES and not AFTER_TRIGGER.match(words)
        if is_ours or swallows:
            yield f"{kind} {table}.{name}", normalized_definition(words)


@cache
def sqlite_object_names() -> frozenset[str]:
    """Our indexes and triggers, as "trigger async_customer.async_customer_guard_insert"."""
    return frozenset(
        thing for thing in ddl.object_statements("sqlite") if not thing.startswith("view ")
    )
