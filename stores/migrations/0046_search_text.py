"""One way to write a text down for searching: what is looked for and what is held go through it.

Case, accents, width and invisible letters do not count, nor which apostrophe or hyphen it is; ß is
ss, a dotless i is an i, and a final sigma is a sigma. The keys of people are tidied first.
"""

from django.db import migrations

APOSTROPHES = "\u2018\u2019\u201b\u02b9\u02bb\u02bc\u02bd\u2032\u00b4`\u05f3\ua78c"
HYPHENS = "\u2010\u2011\u2012\u2013\u2014\u2015\u2043\u2212\ufe58\u05be"
BLANKS = "\u0085\u115f\u1160\u1680\u2028\u2029\u2800\u3164\uffa0"
FROM = APOSTROPHES + HYPHENS + BLANKS
TO = "''" * len(APOSTROPHES) + "-" * len(HYPHENS) + " " * len(BLANKS)
# Accents, and the invisible letters of stores.models.characters.
UNSEEN = (
    r"[\u0300-\u036F\u00AD\u061C\u17B4\u17B5\u180B-\u180F\u200B-\u200F\u202A-\u202E\u2060-\u206F"
    r"\uFE00-\uFE0F\uFEFF\uFFF9-\uFFFB\U0001BCA0-\U0001BCA3\U0001D173-\U0001D17A"
    r"\U000E0000-\U000E007F\U000E0100-\U000E01EF]"
)
FOLDED, PLAIN = "\u0131\u03c2\u00f8\u0142\u0111", "i\u03c3old"

FUNCTIONS = rf"""
CREATE FUNCTION search_text(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN octet_length(value) <> char_length(value) OR strpos(value, '`') > 0
            THEN replace(replace(replace(translate(
                   lower(normalize(
                     regexp_replace(
                       normalize(translate(value, '{FROM}', '{TO}'), NFKD), '{UNSEEN}', '', 'g'),
                     NFC)),
                   '{FOLDED}', '{PLAIN}'),
                   'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe')
            ELSE lower(value) END;

-- A full name that holds its parts stands for them: every piece costs time in the index. The space
-- in front lets the beginning of the first word be searched like that of any other.
CREATE OR REPLACE FUNCTION search_name(name text, first_name text, middle_name text, last_name text)
RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN search_text(' ' || CASE
    WHEN strpos(name, first_name) > 0 AND strpos(name, last_name) > 0 AND coalesce(middle_name, '') = ''
    THEN name
    ELSE coalesce(first_name, '') || ' ' || coalesce(middle_name, '') || ' ' || coalesce(last_name, '')
         || ' ' || coalesce(name, '') END);

CREATE OR REPLACE FUNCTION bare_digits(phone text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN nullif(regexp_replace(tidy_phone(phone), '[^0-9]', '', 'g'), '');

CREATE OR REPLACE FUNCTION reach_keys(email text, receipt_email text, phone text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN array_remove(ARRAY[lower(tidy_email(email)), lower(tidy_email(receipt_email)),
                          bare_digits(phone)], NULL);

CREATE OR REPLACE FUNCTION contact_keys(kind text, locator text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY[CASE tidy_key(kind) WHEN 'email' THEN lower(tidy_email(locator))
                                 WHEN 'phone' THEN bare_digits(locator) END];
"""

DROP = """DROP INDEX IF EXISTS customer_search_name, customer_reach_keys, customer_contact_keys"""
INDEXES = """
CREATE INDEX customer_search_name ON customer
    USING gin (search_name(name, first_name, middle_name, last_name) gin_trgm_ops);
CREATE INDEX customer_reach_keys ON customer USING gin (reach_keys(email, receipt_email, phone));
CREATE INDEX customer_contact_keys ON customer_contact USING gin (contact_keys(kind, locator));
"""


class Migration(migrations.Migration):
    """Forward only, as 0045. Builds the indexes of people anew, because their texts are others."""

    dependencies = [("stores", "0045_tidying")]
    operations = [
        migrations.RunSQL(DROP),
        migrations.RunSQL(FUNCTIONS),
        migrations.RunSQL(INDEXES),
    ]
