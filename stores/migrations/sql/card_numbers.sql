-- Payment card numbers in texts. stores/models/cards.py has the same rules for what pages show.

-- Whether digits are a card number: the prefix of an issuer, and a correct check digit (Luhn). The number of digits is
-- checked only where an issuer has one length; holds_card_number looks for the other lengths.
CREATE FUNCTION is_card_number(digits text) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN digits ~ ('^(4[0-9]+'                                   -- Visa
                 '|5[0-9]+|2(2[2-9]|[3-6]|7[01]|720)[0-9]+'    -- Mastercard, Maestro
                 '|6[0-9]+'                                    -- Discover, UnionPay, Maestro
                 '|35[0-9]{14}'                                -- JCB
                 '|3[47][0-9]{13}'                             -- American Express
                 '|3(0[0-5]|[689][0-9])[0-9]{11})$')           -- Diners Club
   -- From the right, every second digit is doubled and its digits are added: 7 -> 14 -> 5.
   AND (SELECT sum(CASE WHEN place % 2 = 1 THEN digit
                        WHEN digit < 5 THEN 2 * digit
                        ELSE 2 * digit - 9 END) % 10 = 0
          FROM (SELECT place, substr(reverse(digits), place, 1)::int AS digit
                  FROM generate_series(1, length(digits)) AS place) AS reversed);

-- Whether a text contains a card number, with or without blanks or hyphens between the printed groups.
CREATE FUNCTION holds_card_number(value text) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN EXISTS (
    SELECT FROM unnest(ARRAY[
               -- 16 digits: 4 4 4 4
               '(?<![0-9])[2-6][0-9]{3}[ -]?[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}(?![0-9])',
               -- 19 digits: 4 4 4 4 3
               '(?<![0-9])[456][0-9]{3}[ -]?[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{3}(?![0-9])',
               -- 15 digits of American Express: 4 6 5; 14 digits of Diners Club: 4 6 4
               '(?<![0-9])3[04-9][0-9]{2}[ -]?[0-9]{6}[ -]?[0-9]{4,5}(?![0-9])']) AS pattern,
         LATERAL regexp_matches(value, pattern, 'g') AS match
     WHERE is_card_number(translate(match[1], ' -', '')));
