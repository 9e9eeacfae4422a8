-- Account, order and invoice numbers: a format such as 'C-######' and a number make 'C-000042'.
--
-- A format has exactly one run of '#'. No function here is STRICT, so that PostgreSQL can inline it.

-- The number of '#' in a format: 'C-######' -> 6.
CREATE FUNCTION format_width(format text) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN length(format) - length(replace(format, '#', ''));

-- Write a number in a format: 'C-######', 42 -> 'C-000042'. Orders and invoices may outgrow their format, which then
-- takes all digits: 'SO-###', 1000 -> 'SO-1000'. Account numbers never do: their sequence ends with the format.
CREATE FUNCTION account_text(format text, number bigint) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN replace(format, repeat('#', format_width(format)),
               lpad(number::text, greatest(length(number::text), format_width(format)), '0'));

-- The part of an account where its format has '#': 'C-######', 'C-000042' -> '000042'.
CREATE FUNCTION account_digits(format text, account text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN substr(account, strpos(format, '#'), format_width(format));

-- Read the number of an account: 'C-######', 'C-000042' -> 42. NULL if the account is not of this format.
--
-- The outer CASE protects the cast to bigint, which holds every number of 18 digits.
CREATE FUNCTION account_place(format text, account text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN account_digits(format, account) ~ '^0*[0-9]{1,18}$' THEN
       CASE WHEN account = account_text(format, account_digits(format, account)::bigint)
            THEN account_digits(format, account)::bigint END END;
