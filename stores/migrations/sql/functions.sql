-- Functions that guards, views and the statements of the pipeline call. See also tidying.sql and search.sql.

-- The trigger function of every guard whose WHEN clause, or mere existence, says what is forbidden.
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%: % refused', TG_TABLE_NAME, lower(TG_OP) USING ERRCODE = 'restrict_violation';
END $$;

-- An account number from a format: 'C-######', 42 -> 'C-000042'. Not STRICT, so that PostgreSQL can inline it.
CREATE FUNCTION account_text(format text, number bigint) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN left(format, strpos(format, '#') - 1)
    || lpad(number::text, greatest(length(number::text), length(format) - length(replace(format, '#', ''))), '0')
    || ltrim(substr(format, strpos(format, '#')), '#');

-- The number in an account: 'C-######', 'C-000042' -> 42. NULL for an account of another format.
CREATE FUNCTION account_place(format text, account text) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE
    WHEN substr(account, strpos(format, '#'), length(format) - length(replace(format, '#', ''))) ~ '^[0-9]+$'
     AND account = account_text(format,
         substr(account, strpos(format, '#'), length(format) - length(replace(format, '#', '')))::bigint)
    THEN substr(account, strpos(format, '#'), length(format) - length(replace(format, '#', '')))::bigint END;

-- How many decimal places a currency's smallest unit has (ISO 4217).
CREATE FUNCTION currency_places(currency text) RETURNS integer
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN CASE
    WHEN currency IN ('BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX',
                      'UYI', 'VND', 'VUV', 'XAF', 'XOF', 'XPF') THEN 0
    WHEN currency IN ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') THEN 3
    WHEN currency IN ('CLF', 'UYW') THEN 4
    ELSE 2 END;

-- The business date of a moment by a store's own clock: hours before the end of its day still belong to the day
-- before. A repeated hour counts once, a missing one never happens.
CREATE FUNCTION business_date_of(moment timestamptz, zone text, day_ends_at time) RETURNS date
LANGUAGE sql STABLE STRICT PARALLEL SAFE
RETURN ((moment AT TIME ZONE zone) - day_ends_at)::date;

-- Orders events of the same moment: the one from the greater place counts as the later. Headquarters comes before
-- every channel. Channel code and register are the same in every installation and tell any two databases apart; the
-- "C" collation keeps the order independent of the server's language.
CREATE FUNCTION database_place(database bigint) RETURNS text
LANGUAGE sql STABLE
RETURN coalesce((SELECT h.code || ' ' || b.name FROM channel_database b
                   JOIN channel h ON h.id = b.channel_id WHERE b.id = database), '') COLLATE "C";

-- Whether digits are those of a payment card: an issuer's prefix, and Luhn's check digit.
CREATE FUNCTION is_card_number(digits text) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN digits ~ ('^(4[0-9]+|5[0-9]+|2(2[2-9]|[3-6]|7[01]|720)[0-9]+|6[0-9]+|35[0-9]{14}|3[47][0-9]{13}'
                 '|3(0[0-5]|[689][0-9])[0-9]{11})$')
   AND (SELECT sum(CASE WHEN place % 2 = 1 THEN digit
                        ELSE 2 * digit - CASE WHEN digit > 4 THEN 9 ELSE 0 END END) % 10 = 0
          FROM (SELECT place, substr(reverse(digits), place, 1)::int AS digit
                  FROM generate_series(1, length(digits)) place) each_digit);

-- Whether a text holds the number of a payment card, in groups as they are printed.
CREATE FUNCTION holds_card_number(value text) RETURNS boolean
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN EXISTS (
    SELECT FROM unnest(ARRAY[
               '(?<![0-9])[2-6][0-9]{3}[ -]?[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}(?![0-9])',
               '(?<![0-9])[456][0-9]{3}[ -]?[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{3}(?![0-9])',
               '(?<![0-9])3[04-9][0-9]{2}[ -]?[0-9]{6}[ -]?[0-9]{4,5}(?![0-9])']) shape,
         LATERAL regexp_matches(value, shape, 'g') found
     WHERE is_card_number(translate(found[1], ' -', '')));

-- How far the payments of a sale may be off its total: by rounding, and by tolerance besides. Rounding counts only
-- where the tender holds whole coins. A company's tolerance is meant for a currency of two places, and is as many
-- smallest units of every other. A sale that was paid nothing is judged by the tenders it names all the same, one
-- that names none by the row for all other tenders.
CREATE FUNCTION allowed_difference(sale bigint, OUT rounding numeric, OUT tolerance numeric)
LANGUAGE sql STABLE STRICT PARALLEL SAFE AS $$
    WITH document AS (
      SELECT t.id, t.company_id, t.currency, t.payment_amount,
             c.payment_tolerance * power(10::numeric, 2 - currency_places(t.currency)) AS usual
        FROM retail_transaction t JOIN company c ON c.code = t.company_id
       WHERE t.id = sale),
    paid AS (
      SELECT lower(p.tender_type) AS tender, sum(p.amount) AS amount
        FROM document d JOIN retail_transaction_payment p ON p.transaction_id = d.id
       WHERE p.amount <> 0 OR d.payment_amount = 0 GROUP BY 1),
    tenders AS (
      SELECT tender, amount FROM paid
       UNION ALL
      SELECT '', 0 WHERE NOT EXISTS (SELECT FROM paid))
    SELECT coalesce(max(r.rounding_unit / 2) FILTER (
                    WHERE r.rounding_unit > 0 AND mod(tenders.amount, r.rounding_unit) = 0), 0),
           coalesce(max(coalesce(r.tolerance, document.usual)), 0)
      FROM document CROSS JOIN tenders
      LEFT JOIN LATERAL (
           SELECT s.rounding_unit, s.tolerance FROM payment_rounding s
            WHERE s.company_id = document.company_id AND s.currency = document.currency
              AND lower(s.tender_type) IN (tenders.tender, '')
            ORDER BY s.tender_type = '' LIMIT 1) r ON true
$$;
