"""What may be defined, and what may not stand in a sale.

An attribute's definition is one that some value fits; those that were not are mended first. Numbers
of payment cards are known by their shape, an issuer's prefix and the check digit.
"""

from django.db import migrations, models

MEND = """
UPDATE attribute_definition SET smallest = largest, largest = smallest WHERE smallest > largest;
UPDATE attribute_definition SET options = '[]' WHERE jsonb_typeof(options) <> 'array';
UPDATE attribute_definition d
   SET options = (SELECT coalesce(jsonb_agg(DISTINCT tidy(o.value)), '[]')
                    FROM jsonb_array_elements_text(d.options) o WHERE tidy(o.value) <> '')
 WHERE jsonb_path_exists(options, '$[*] ? (@.type() <> "string")');
"""
OPTIONS = """
ALTER TABLE attribute_definition
    ADD CONSTRAINT options_are_texts CHECK (
        jsonb_typeof(options) = 'array'
        AND NOT jsonb_path_exists(options, '$[*] ? (@.type() <> "string")')),
    ADD CONSTRAINT an_attribute_has_a_name CHECK (tidy_key(name) <> '');
"""

CARDS = r"""
CREATE FUNCTION is_card_number(digits text) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN digits ~ '^(4[0-9]+|5[0-9]+|2(2[2-9]|[3-6]|7[01]|720)[0-9]+|6[0-9]+|35[0-9]{14}|3[47][0-9]{13}|3(0[0-5]|[689][0-9])[0-9]{11})$'
   AND (SELECT sum(CASE WHEN place % 2 = 1 THEN digit ELSE 2 * digit - CASE WHEN digit > 4 THEN 9 ELSE 0 END END) % 10 = 0
          FROM (SELECT place, substr(reverse(digits), place, 1)::int AS digit
                  FROM generate_series(1, length(digits)) place) each_digit);

-- Whether a text holds the number of a card, in groups as they are printed.
CREATE FUNCTION holds_card_number(value text) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN EXISTS (
    SELECT FROM unnest(ARRAY[
               '(?<![0-9])[2-6][0-9]{3}[ -]?[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}(?![0-9])',
               '(?<![0-9])[456][0-9]{3}[ -]?[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{3}(?![0-9])',
               '(?<![0-9])3[04-9][0-9]{2}[ -]?[0-9]{6}[ -]?[0-9]{4,5}(?![0-9])']) shape,
         LATERAL regexp_matches(value, shape, 'g') found
     WHERE is_card_number(translate(found[1], ' -', '')));
"""


class Migration(migrations.Migration):
    dependencies = [("stores", "0047_field_to_correct")]
    operations = [
        migrations.RunSQL(MEND, migrations.RunSQL.noop),
        migrations.RunSQL(
            OPTIONS,
            """ALTER TABLE attribute_definition DROP CONSTRAINT options_are_texts,
                                                DROP CONSTRAINT an_attribute_has_a_name""",
        ),
        migrations.RunSQL(
            CARDS, "DROP FUNCTION holds_card_number(text); DROP FUNCTION is_card_number(text)"
        ),
        migrations.AddConstraint(
            model_name="attributedefinition",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("smallest", None),
                    ("largest", None),
                    ("smallest__lte", models.F("largest")),
                    _connector="OR",
                ),
                name="an_attribute_has_values",
            ),
        ),
    ]
