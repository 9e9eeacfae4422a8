"""Tidying: blanks of every kind and invisible letters go, so that rules judge what people see.

The letters are those of stores.models.characters. What is ASCII, as most is, costs no more than
before: only a text with other letters, or with control characters, meets the expressions below.
"""

from django.db import migrations

ODD_BLANK = (
    r"\u0085\u00A0\u115F\u1160\u1680\u2000-\u200A\u2028\u2029\u202F\u205F"
    r"\u2800\u3000\u3164\uFFA0"
)
BLANK = r"\u0009-\u000D\u001C- " + ODD_BLANK
CONTROL = r"\u0001-\u0008\u000E-\u001B\u007F-\u0084\u0086-\u009F"
HIDDEN = (
    r"\u00AD\u034F\u061C\u17B4\u17B5\u180E\u200B\u200E\u200F\u202A-\u202E"
    r"\u2060-\u206F\uFEFF\uFFF9-\uFFFB\U0001BCA0-\U0001BCA3\U0001D173-"
    r"\U0001D17A"
)
JOINER = r"\u200C\u200D"
SELECTOR = (
    r"\u180B-\u180D\u180F\uFE00-\uFE0F\U000E0000-\U000E007F\U000E0100-"
    r"\U000E01EF"
)
VIRAMA = r"\u094D\u09CD\u0A4D\u0ACD\u0B4D\u0BCD\u0C4D\u0CCD\u0D4D\u0DCA"
# Hyphens, dashes and what stands for them in numbers, and the zero of every script with digits.
DASHES = r"\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u30FC"
ZEROS = (
    r"\u0660\u06F0\u07C0\u0966\u09E6\u0A66\u0AE6\u0B66\u0BE6\u0C66\u0CE6\u0D66"
    r"\u0DE6\u0E50\u0ED0\u0F20\u1040\u1090\u17E0\u1810\u1946\u19D0\u1A80\u1A90"
    r"\u1B50\u1BB0\u1C40\u1C50\uA620\uA8D0\uA900\uA9D0\uA9F0\uAA50\uABF0"
)


def every(letters: str) -> str:
    """The letters of a class of an expression, ranges spelt out."""
    text = letters.encode("ascii").decode("unicode_escape")
    found, place = "", 0
    while place < len(text):
        is_range = text[place + 1 : place + 2] == "-"
        last = text[place + 2] if is_range else text[place]
        found += "".join(map(chr, range(ord(text[place]), ord(last) + 1)))
        place += 3 if is_range else 1
    return found


ENDS = (
    f"^[{BLANK}{CONTROL}{HIDDEN}{JOINER}{SELECTOR}]+"
    rf"|(?:[{BLANK}{CONTROL}{HIDDEN}{JOINER}](?<![{VIRAMA}]\u200D))+$"
)
NEVER_IN_KEYS = f"[{HIDDEN}{JOINER}{SELECTOR}]"
ODD = every(ODD_BLANK)
DIGITS = "".join(chr(ord(zero) + digit) for zero in every(ZEROS) for digit in range(10))
IN_NUMBERS = every(DASHES) + DIGITS
IN_PLAIN = "-" * len(every(DASHES)) + "0123456789" * len(every(ZEROS))
NEEDS_CARE = r"octet_length(value) <> char_length(value) OR value ~ '[\u0001-\u001F\u007F]'"

FUNCTIONS = rf"""
-- The documented normalisation: no blanks and invisible letters at the ends, Unicode NFC.
CREATE OR REPLACE FUNCTION tidy(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN {NEEDS_CARE}
            THEN normalize(regexp_replace(value, '{ENDS}', '', 'g'), NFC)
            ELSE btrim(value) END;

-- The same of what is compared and looked up: no invisible letters inside, plain blanks only.
CREATE FUNCTION tidy_key(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN {NEEDS_CARE}
            THEN normalize(regexp_replace(
                     translate(regexp_replace(value, '{NEVER_IN_KEYS}', '', 'g'),
                               '{ODD}', '{" " * len(ODD)}'),
                     '{ENDS}', '', 'g'), NFC)
            ELSE btrim(value) END;

-- A key whose letters have one width, and the domain of a mail address in lower case.
CREATE OR REPLACE FUNCTION tidy_email(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN {NEEDS_CARE} OR value <> lower(value)
            THEN substr(normalize(tidy_key(value), NFKC), 1, strpos(normalize(tidy_key(value), NFKC), '@'))
              || lower(substr(normalize(tidy_key(value), NFKC),
                              strpos(normalize(tidy_key(value), NFKC), '@') + 1))
            ELSE btrim(value) END;

-- A number as people write it, in digits and signs of one kind and without "tel:".
CREATE FUNCTION tidy_phone(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN {NEEDS_CARE} OR strpos(lower(value), 'tel:') > 0
            THEN btrim(regexp_replace(
                     translate(normalize(tidy_key(value), NFKC), '{IN_NUMBERS}', '{IN_PLAIN}'),
                     '^tel: *', '', 'i'))
            ELSE btrim(value) END;
"""


class Migration(migrations.Migration):
    """Forward only, as the guards that these functions serve."""

    dependencies = [("stores", "0037_payment_rounding")]
    operations = [migrations.RunSQL(FUNCTIONS)]
