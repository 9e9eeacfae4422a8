-- Searching for people. The same functions prepare what is stored and what is searched for.

-- A text as it is compared in a search: in lower case, without accents and invisible letters, with one kind of
-- apostrophe, hyphen and blank. ß becomes ss, a dotless i becomes i, and a final sigma becomes sigma.
CREATE FUNCTION search_text(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN octet_length(value) <> char_length(value) OR strpos(value, '`') > 0
            THEN replace(replace(replace(translate(
                   lower(normalize(
                     regexp_replace(
                       normalize(translate(value,
                         U&'\2018\2019\201B\02B9\02BB\02BC\02BD\2032\00B4`\05F3\A78C'
                           '\2010\2011\2012\2013\2014\2015\2043\2212\FE58\05BE'
                           '\0085\115F\1160\1680\2028\2029\2800\3164\FFA0',
                         ''''''''''''''''''''''''''
                         '----------'
                         '         '), NFKD),
                       '[\u0300-\u036F'  -- accents
                       '\u00AD\u061C\u17B4\u17B5\u180B-\u180F\u200B-\u200F\u202A-\u202E'  -- invisible letters
                       '\u2060-\u206F\uFE00-\uFE0F\uFEFF\uFFF9-\uFFFB\U0001BCA0-\U0001BCA3'
                       '\U0001D173-\U0001D17A\U000E0000-\U000E007F\U000E0100-\U000E01EF]',
                       '', 'g'),
                     NFC)),
                   'ıςøłđ', 'iσold'),
                   'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe')
            ELSE lower(value) END;

-- The text in which a name is searched. A full name that contains first and last name is enough: each word more costs
-- time in the index. The leading space lets a search find the beginning of the first word like that of any other.
CREATE FUNCTION search_name(name text, first_name text, middle_name text, last_name text)
RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN search_text(' ' || CASE
    WHEN strpos(name, first_name) > 0 AND strpos(name, last_name) > 0 AND coalesce(middle_name, '') = ''
    THEN name
    ELSE coalesce(first_name, '') || ' ' || coalesce(middle_name, '') || ' ' || coalesce(last_name, '')
         || ' ' || coalesce(name, '') END);

-- The digits of a telephone number. NULL if it has none.
CREATE FUNCTION bare_digits(phone text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN nullif(regexp_replace(normalize_phone(phone), '[^0-9]', '', 'g'), '');

-- The keys that find a customer: both mail addresses in lower case, and the digits of the telephone number.
CREATE FUNCTION reach_keys(email text, receipt_email text, phone text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN array_remove(ARRAY[lower(normalize_email(email)), lower(normalize_email(receipt_email)),
                          bare_digits(phone)], NULL);

-- The key that finds a contact, depending on its kind. NULL for kinds without a key.
CREATE FUNCTION contact_keys(kind text, locator text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY[CASE normalize_key(kind) WHEN 'email' THEN lower(normalize_email(locator))
                                 WHEN 'phone' THEN bare_digits(locator) END];

-- Trigrams find any part of a name. Whole keys find mail addresses and numbers, at a third of the cost of trigrams. New
-- entries are collected in the pending list of each index, so that a conversion does not wait for them. Costs:
-- docs/performance.md.
CREATE INDEX customer_search_name ON customer
    USING gin (search_name(name, first_name, middle_name, last_name) gin_trgm_ops);
CREATE INDEX customer_reach_keys ON customer USING gin (reach_keys(email, receipt_email, phone));
CREATE INDEX customer_contact_keys ON customer_contact USING gin (contact_keys(kind, locator));
