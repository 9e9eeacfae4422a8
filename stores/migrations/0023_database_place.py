"""Which of two events at one moment counts as the later: that of the greater place."""

from django.db import migrations

FORWARD = """
-- Headquarters comes first of all. Channel code and register part any two databases, and are the
-- same in every installation; the letters' order must not depend on the server's language.
CREATE FUNCTION database_place(database bigint) RETURNS text
LANGUAGE sql STABLE
RETURN coalesce((SELECT h.code || ' ' || b.name FROM channel_database b
                   JOIN channel h ON h.id = b.channel_id WHERE b.id = database), '') COLLATE "C";
"""


class Migration(migrations.Migration):
    dependencies = [("stores", "0022_document_of_hq")]
    operations = [migrations.RunSQL(FORWARD, "DROP FUNCTION database_place")]
