"""Finding people among millions; what each index costs is in docs/performance.md."""

from django.db import migrations

FUNCTIONS = r"""
-- A full name that holds its parts stands for them: every piece costs time in the index. The space
-- in front lets the beginning of the first word be searched like that of any other.
CREATE FUNCTION search_name(name text, first_name text, middle_name text, last_name text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN lower(' ' || CASE
    WHEN strpos(name, first_name) > 0 AND strpos(name, last_name) > 0 AND coalesce(middle_name, '') = ''
    THEN name
    ELSE coalesce(first_name, '') || ' ' || coalesce(middle_name, '') || ' ' || coalesce(last_name, '')
         || ' ' || coalesce(name, '') END);

CREATE FUNCTION bare_digits(phone text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN nullif(regexp_replace(phone, '\D', '', 'g'), '');

CREATE FUNCTION reach_keys(email text, receipt_email text, phone text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN array_remove(ARRAY[lower(email), lower(receipt_email), bare_digits(phone)], NULL);

CREATE FUNCTION contact_keys(kind text, locator text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY[CASE kind WHEN 'email' THEN lower(locator) WHEN 'phone' THEN bare_digits(locator) END];
"""

# Trigrams serve any piece of a name; whole keys serve addresses and numbers, at a third of the price
# of the trigrams that these would have. New entries wait in a list, so that a conversion does not.
INDEXES = """
CREATE INDEX customer_search_name ON customer
    USING gin (search_name(name, first_name, middle_name, last_name) gin_trgm_ops);
CREATE INDEX customer_reach_keys ON customer USING gin (reach_keys(email, receipt_email, phone));
CREATE INDEX customer_contact_keys ON customer_contact USING gin (contact_keys(kind, locator));
"""


class Migration(migrations.Migration):
    dependencies = [("stores", "0006_hq_events")]
    operations = [
        # Whoever owns a database may create it: it is a trusted extension.
        migrations.RunSQL(
            "CREATE EXTENSION IF NOT EXISTS pg_trgm", "DROP EXTENSION IF EXISTS pg_trgm"
        ),
        migrations.RunSQL(
            FUNCTIONS,
            """DROP FUNCTION contact_keys(text, text);
               DROP FUNCTION reach_keys(text, text, text);
               DROP FUNCTION bare_digits(text);
               DROP FUNCTION search_name(text, text, text, text);""",
        ),
        migrations.RunSQL(
            INDEXES,
            """DROP INDEX customer_contact_keys;
               DROP INDEX customer_reach_keys;
               DROP INDEX customer_search_name;""",
        ),
    ]
