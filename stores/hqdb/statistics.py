"""What the planner knows of HQ's tables."""

from psycopg2 import sql

from stores.hqdb.sql import fetch_values, identifiers, run_sql

# Autovacuum looks once a minute and at a tenth of a table; a check may come right after a million
# rows, and a plan made for an empty table then takes minutes.
CHANGED_TABLES = """
    SELECT relname FROM pg_stat_user_tables
     WHERE schemaname = current_schema()
       AND n_mod_since_analyze > 1000 + n_live_tup / 5
     ORDER BY relname
"""


def analyze_changed_tables() -> list[str]:
    """Analyze the tables of HQ that changed much since they were analyzed; returns their names."""
    names = fetch_values(CHANGED_TABLES)
    if names:
        run_sql(sql.SQL("ANALYZE {}").format(identifiers(names)))
    return names
