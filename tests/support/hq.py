"""HQ's database between two tests."""

import shutil

from django.apps import apps
from django.conf import settings
from django.db import connection

CAST = {
    "houston": ("store", "embedded"),
    "seattle": ("store", "embedded"),
    "web": ("online", "embedded"),
    "popup": ("store", "sqlite:///channels/popup.sqlite3"),
}
# Whose the channels of the cast are, unless a test says otherwise.
COMPANY = "USRT"
# Bytes of a table that more than a handful of rows fill.
LARGE = 30_000
KEPT = {"auth_permission", "django_content_type", "auth_group", "auth_group_permissions"}


def empty_hq() -> None:
    """Remove all rows, past the triggers that would refuse it."""
    tables = [
        model._meta.db_table
        for model in apps.get_models(include_auto_created=True)
        # What is not managed is a view of other tables.
        if model._meta.managed and model._meta.app_label not in ("channeldb", "django_rq")
    ]
    ours = [table for table in tables if table not in KEPT]
    emptied = "; ".join(f'DELETE FROM "{table}"' for table in ours)  # noqa: S608
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        # Deleting is quicker where there is little. A large test would leave the next ones pages
        # of dead rows, and statistics from which the server expects nothing where much is written.
        cursor.execute(
            "SELECT relname FROM pg_class WHERE relname = ANY(%s) AND relkind = 'r'"
            " AND pg_relation_size(oid) > %s",
            [ours, LARGE],
        )
        if large := [table for (table,) in cursor.fetchall()]:
            cursor.execute(f"TRUNCATE {', '.join(large)} CASCADE")
        # In one message: a test must not wait for each table.
        cursor.execute(emptied)
        cursor.execute("SET session_replication_role = DEFAULT")
    # The next HQ in this database has issued none of these numbers.
    shutil.rmtree(settings.NUMBER_JOURNAL_DIR, ignore_errors=True)
