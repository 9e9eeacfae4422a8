"""What HQ's role may do in a channel on PostgreSQL beyond what it needs, and what it lacks.

HQ needs to read events and to acknowledge them, and to write its own tables; docs/channel-schema.md
has the grants. A role that may do more works as well, but a fault of HQ, or a stolen password,
could then do more harm: it is told, not refused.
"""

from django.db.backends.base.base import BaseDatabaseWrapper

from stores.channeldb.schema.tables import EVENT_TABLES, HQ_TABLES, PART_TABLES

PRIVILEGES = ["INSERT", "UPDATE", "DELETE", "TRUNCATE", "TRIGGER", "REFERENCES"]
READ_PRIVILEGES = """
SELECT 'it is a superuser' FROM pg_roles WHERE rolname = current_user AND rolsuper
UNION ALL
SELECT 'it may make roles or databases' FROM pg_roles
 WHERE rolname = current_user AND NOT rolsuper AND (rolcreaterole OR rolcreatedb)
UNION ALL
SELECT 'it may make tables' WHERE has_schema_privilege('public', 'CREATE')
UNION ALL
SELECT 'it owns ' || relname FROM pg_class
 WHERE relnamespace = 'public'::regnamespace AND relname = ANY (%(all)s)
   AND pg_has_role(relowner, 'USAGE')
UNION ALL
SELECT 'it has ' || privilege || ' on ' || relname
  FROM pg_class, unnest(%(privileges)s) AS privilege
 WHERE relnamespace = 'public'::regnamespace AND relname = ANY (%(all)s)
   AND has_table_privilege(pg_class.oid, privilege)
   AND NOT (relname = ANY (%(written)s) AND privilege IN ('INSERT', 'UPDATE'))
UNION ALL
SELECT 'it has UPDATE on ' || relname || '.' || attname
  FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
 WHERE relnamespace = 'public'::regnamespace AND relname = ANY (%(all)s)
   AND relname <> ALL (%(written)s) AND attnum > 0 AND NOT attisdropped
   AND NOT has_table_privilege(pg_class.oid, 'UPDATE')
   AND has_column_privilege(pg_class.oid, attnum, 'UPDATE')
   AND NOT (attname = 'acknowledged_at' AND relname = ANY (%(acknowledged)s))
 ORDER BY 1"""
READ_MISSING = """
SELECT privilege || ' on ' || name FROM (
    SELECT name, 'SELECT' AS privilege FROM unnest(%(all)s) AS name
    UNION ALL
    SELECT name, privilege FROM unnest(%(written)s) AS name, unnest('{INSERT,UPDATE}'::text[])
        AS privilege) AS needed
 WHERE NOT has_table_privilege('public.' || name, privilege)
UNION ALL
SELECT 'UPDATE on ' || name || '.acknowledged_at' FROM unnest(%(acknowledged)s) AS name
 WHERE NOT has_column_privilege('public.' || name, 'acknowledged_at', 'UPDATE')
UNION ALL
SELECT 'TEMPORARY on the database'
 WHERE NOT has_database_privilege(current_database(), 'TEMPORARY')
 ORDER BY 1"""


def excess_privileges(wrapper: BaseDatabaseWrapper) -> list[str]:
    """What the role may do beyond what it needs; of a superuser only that."""
    with wrapper.cursor() as cursor:
        cursor.execute(READ_PRIVILEGES, table_names() | {"privileges": PRIVILEGES})
        privileges = [privilege for (privilege,) in cursor.fetchall()]
    return [privilege for privilege in privileges if "superuser" in privilege] or privileges


def missing_privileges(wrapper: BaseDatabaseWrapper) -> list[str]:
    """What the role may not do, although HQ needs it; the tables must be there."""
    with wrapper.cursor() as cursor:
        cursor.execute(READ_MISSING, table_names())
        return [privilege for (privilege,) in cursor.fetchall()]


def table_names() -> dict[str, list[str]]:
    """The tables of a channel: all, those HQ writes, and those whose events it acknowledges."""
    written = [table.name for table in HQ_TABLES]
    acknowledged = [table.name for table in EVENT_TABLES]
    everything = [*written, *acknowledged, *(table.name for table in PART_TABLES)]
    return {"all": everything, "written": written, "acknowledged": acknowledged}


def may_create_tables(wrapper: BaseDatabaseWrapper) -> bool:
    with wrapper.cursor() as cursor:
        cursor.execute(
            "SELECT has_schema_privilege('public', 'CREATE')"
            " AND has_schema_privilege('public', 'USAGE')"
        )
        return bool(cursor.fetchone()[0])
