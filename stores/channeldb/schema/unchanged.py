"""Is a channel on PostgreSQL just as its migrations make it? One statement that is quick to plan.

Each visit asks this, and hardly one needs more. The server writes what its catalogs hold of a
channel in lines, and sends how many these are and a digest of them; HQ knows both. A line is what
the server itself writes. If another version writes something else, or an owner has renamed what
Syncline does not mind, the digests differ as after a real change, and `drift` has to look closer.

Own columns that can be null, own indexes that are not unique and own AFTER triggers are in no line.
While it asks, `public` is not on the search path, so that nothing in it is taken for the server's.
Functions and operators that stand there are found by what they depend on, and those of extensions
are left out.
"""

import hashlib
import re
from collections.abc import Iterator
from functools import cache
from pkgutil import iter_modules

from django.db import ProgrammingError
from django.db.backends.base.base import BaseDatabaseWrapper

from stores.channeldb import migrations
from stores.channeldb.router import APP
from stores.channeldb.schema import ddl, triggers
from stores.channeldb.schema.tables import CHANNEL_TABLES, LATER_COLUMNS, Column, Table

LOOKUP_VIEW = "customer_lookup"
READ_DIGEST = r"""
SET LOCAL search_path = pg_catalog;
WITH ours AS MATERIALIZED (
    SELECT oid, relname, relkind, relpersistence, relrowsecurity, relhasrules FROM pg_class
     WHERE relname = ANY (%(tables)s::name[]) AND relnamespace = 'public'::regnamespace
), line (line) AS (
    SELECT concat_ws('|', 'migration', app, name) FROM public.django_migrations
     WHERE app IN ('channeldb', 'stores')
    UNION ALL
    SELECT concat_ws('|', 'table', relname, relkind, relpersistence, relrowsecurity, relhasrules)
      FROM ours
    UNION ALL
    -- Not in WHERE: to estimate how many names are equal takes longer than to compare them.
    SELECT CASE WHEN attnotnull OR attname = ANY (%(columns)s) THEN
               concat_ws('|', 'column', attrelid::regclass, attname,
                         format_type(atttypid, atttypmod), attnotnull, attidentity, attgenerated)
           END
      FROM pg_attribute
     WHERE attrelid = ANY (ARRAY(SELECT oid FROM ours WHERE relkind <> 'v'))
       AND attnum > 0 AND NOT attisdropped
    UNION ALL
    SELECT concat_ws('|', 'index', pg_get_indexdef(indexrelid), indisvalid, indimmediate)
      FROM pg_index
     WHERE indrelid = ANY (ARRAY(SELECT oid FROM ours))
       AND (indisunique OR indexrelid::regclass::text = ANY (%(indexes)s))
    UNION ALL
    SELECT concat_ws('|', 'trigger', pg_get_triggerdef(oid), tgenabled IN ('O', 'A'))
      FROM pg_trigger
     WHERE tgrelid = ANY (ARRAY(SELECT oid FROM ours)) AND NOT tgisinternal
       -- 66: BEFORE or INSTEAD OF. An AFTER trigger can neither change nor swallow the row.
       AND (tgtype & 66 <> 0 OR tgname = ANY (%(triggers)s))
    UNION ALL
    SELECT concat_ws('|', 'function', oid::regprocedure,
                     (SELECT lanname FROM pg_language WHERE oid = prolang), proconfig,
                     encode(sha256(convert_to(prosrc, 'UTF8')), 'hex'))
      FROM pg_proc
     WHERE oid = ANY (ARRAY(SELECT objid FROM pg_depend WHERE classid = 'pg_proc'::regclass
                               AND refclassid = 'pg_namespace'::regclass
                               AND refobjid = 'public'::regnamespace))
       AND (proname = ANY (%(functions)s)
            OR EXISTS (SELECT FROM pg_proc server WHERE server.proname = pg_proc.proname
                          AND server.pronamespace = 'pg_catalog'::regnamespace))
       AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass
                          AND objid = pg_proc.oid AND deptype = 'e')
    UNION ALL
    SELECT concat_ws('|', 'operator', objid::regoperator) FROM pg_depend placed
     WHERE classid = 'pg_operator'::regclass
       AND refclassid = 'pg_namespace'::regclass AND refobjid = 'public'::regnamespace
       AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_operator'::regclass
                          AND objid = placed.objid AND deptype = 'e')
)
SELECT count(line), encode(sha256(convert_to(
           string_agg(line, E'\n' ORDER BY line COLLATE "C"), 'UTF8')), 'hex')
  FROM line"""
# Types as format_type() writes them, where `ddl` writes more or something else.
TYPE_NAMES = {"counter": "bigint", "time": "timestamp with time zone"}


def is_unchanged(wrapper: BaseDatabaseWrapper, lacking: frozenset[str]) -> bool:
    """Whether the channel is as the migrations make it. If not, `drift` says what is different.

    A channel of an older version lacks the migrations that add the `lacking` columns. Errors: those
    of the driver.
    """
    with wrapper.cursor() as cursor:
        try:
            cursor.execute(READ_DIGEST, names(lacking))
        except ProgrammingError:
            # There are no migrations, or they may not be read.
            return False
        return bool(cursor.fetchone() == expected_digest(lacking))


@cache
def needed_migrations() -> frozenset[str]:
    """The names of the migrations that a channel must have."""
    return frozenset(module.name for module in iter_modules(migrations.__path__))


@cache
def names(lacking: frozenset[str]) -> dict[str, list[str]]:
    """What the query must know to leave a channel's own things aside."""
    things = [thing.split(" ", 1) for thing in ddl.object_statements("postgresql", lacking=lacking)]
    tables = tables_without(lacking)
    last_names: dict[str, list[str]] = {}
    for kind, name in things:
        last_names.setdefault(kind, []).append(name.rpartition(".")[2])
    return {
        "tables": [*(table.name for table in tables), LOOKUP_VIEW],
        "columns": sorted({name for table in tables for name in table.column_names}),
        "indexes": [f"public.{name}" for name in last_names["index"]],
        "triggers": sorted(set(last_names["trigger"])),
        "functions": list(triggers.POSTGRESQL_FUNCTIONS),
    }


@cache
def expected_digest(lacking: frozenset[str]) -> tuple[int, str]:
    """The number of lines of an unchanged channel, and the digest."""
    lines = sorted(expected_lines(lacking))
    return len(lines), hashlib.sha256("\n".join(lines).encode()).hexdigest()


def expected_lines(lacking: frozenset[str]) -> Iterator[str]:
    """What the catalogs hold of an unchanged channel, line by line."""
    later = {name for name, columns in LATER_COLUMNS.items() if columns <= lacking}
    yield from (f"migration|{APP}|{name}" for name in needed_migrations() - later)
    yield f"table|{LOOKUP_VIEW}|v|p|f|t"
    for table in tables_without(lacking):
        yield f"table|{table.name}|r|p|f|f"
        yield from (column_line(table, column) for column in table.columns)
        yield from key_lines(table)
    for thing, statement in ddl.object_statements("postgresql", lacking=lacking).items():
        kind = thing.split()[0]
        if kind in LINES:
            yield LINES[kind](statement)


def tables_without(lacking: frozenset[str]) -> list[Table]:
    return [table.without(lacking) for table in CHANNEL_TABLES]


def column_line(table: Table, column: Column) -> str:
    name = TYPE_NAMES.get(column.kind, ddl.COLUMN_TYPES["postgresql"][column.kind])
    is_counter = column.kind == "counter"
    must = column.required or is_counter or column.name in table.key
    identity = "a" if is_counter else ""
    return f"column|public.{table.name}|{column.name}|{name}|{'t' if must else 'f'}|{identity}|"


def key_lines(table: Table) -> Iterator[str]:
    """The indexes of its keys, which have the names that the server gives them."""
    counter = ("replication_counter",) if table.triggers == "event" else ()
    keys = {f"{table.name}_{column}_key": column for column in (*table.unique, *counter)}
    keys[f"{table.name}_pkey"] = ", ".join(table.key)
    for name, columns in keys.items():
        yield index_line(f"CREATE UNIQUE INDEX {name} ON public.{table.name} ({columns})")


def index_line(statement: str) -> str:
    words = re.sub(r" ON (\S+) ", r" ON \1 USING btree ", statement)
    words = re.sub(r" WHERE (.*)", r" WHERE (\1)", words)
    return f"index|{words}|t|t"


def trigger_line(statement: str) -> str:
    words = statement.replace("pg_catalog.", "").replace("NEW.", "new.").replace("OLD.", "old.")
    words = re.sub(r" WHEN \((\S+ IS (NOT )?NULL)\)", r" WHEN ((\1))", words)
    return f"trigger|{words}|t"


def function_line(statement: str) -> str:
    before, body, _ = statement.split("$$")
    settings = [f"{name}={value}" for name, value in re.findall(r"SET (\w+) = (\w+)", before)]
    name = before.split()[2]
    source = hashlib.sha256(body.encode()).hexdigest()
    return f"function|{name}|plpgsql|{{{','.join(settings)}}}|{source}"


# Of the view the catalogs need only say that it is one.
LINES = {"index": index_line, "trigger": trigger_line, "function": function_line}
