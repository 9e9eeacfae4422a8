-- Payment card numbers in the texts of sales, where none belongs: a sale with one fails validation. Pages mask card
-- numbers by the same rules: change stores/models/cards.py together with this file.
-- tests/models/test_card_numbers.py compares them.
--
-- Digits are a card number if they begin as an issuer's cards do, and if their last digit is the right check digit.

-- Whether digits are a card number: '4111111111111111' -> true, '4111111111111112' -> false. The length is checked here
-- only where an issuer has a single one. Otherwise holds_card_number decides, which finds 16 or 19 digits.
CREATE FUNCTION is_card_number(digits text) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN digits ~ ANY (ARRAY[
        '^4[0-9]+$',                                 -- Visa
        '^(5|22[2-9]|2[3-6]|27[01]|2720)[0-9]+$',    -- Mastercard (51-55, 2221-2720; 2220 is let in), Maestro (50, 56-59)
        '^6[0-9]+$',                                 -- Discover, UnionPay, Maestro
        '^35[0-9]{14}$',                             -- JCB
        '^3[47][0-9]{13}$',                          -- American Express
        '^3(0[0-5]|[689][0-9])[0-9]{11}$'            -- Diners Club
    ])
    -- The Luhn algorithm: every second digit from the right is doubled, and the two digits of a result above 9 are added
    -- (7 -> 14 -> 5), which is the same as to subtract 9. With a right check digit, the sum of all ends in 0.
    AND (
        SELECT sum(CASE WHEN place % 2 = 1 THEN digit
                        WHEN digit < 5 THEN digit * 2
                        ELSE digit * 2 - 9 END) % 10 = 0
          FROM (SELECT place, substr(reverse(digits), place, 1)::integer AS digit
                  FROM generate_series(1, length(digits)) AS place) AS digits_from_right);

-- Whether a text contains a card number: 'Paid by 4111 1111 1111 1111.' -> true. Its digits may be in one piece or in
-- groups as they are printed on cards, with a blank or a hyphen between them. No other digit stands before or after.
CREATE FUNCTION holds_card_number(value text) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN EXISTS (
    SELECT FROM unnest(ARRAY[
               -- 16 digits, in groups of 4 4 4 4.
               '(?<![0-9])[2-6][0-9]{3}(?:[ -]?[0-9]{4}){3}(?![0-9])',
               -- 19 digits, in groups of 4 4 4 4 3.
               '(?<![0-9])[456][0-9]{3}(?:[ -]?[0-9]{4}){3}[ -]?[0-9]{3}(?![0-9])',
               -- American Express has 15 digits, in groups of 4 6 5; Diners Club has 14, in groups of 4 6 4.
               '(?<![0-9])3[04-9][0-9]{2}[ -]?[0-9]{6}[ -]?[0-9]{4,5}(?![0-9])'
           ]) AS pattern,
           -- As the patterns capture no group, found[1] is the whole piece of text.
           LATERAL regexp_matches(value, pattern, 'g') AS found
     WHERE is_card_number(translate(found[1], ' -', '')));
