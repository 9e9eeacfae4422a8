-- Account, order and invoice numbers: a number is written in a format, and an account number is read back.
--
-- A format has exactly one run of '#', which stands for the digits; all else stays as it is. In 'C-######', the number
-- 42 is 'C-000042'. A CHECK constraint of number_sequence ensures the one run; order_sequence has fixed formats.
--
-- No function here is STRICT, so that PostgreSQL can inline them.

-- How many '#' a format has: 'C-######' -> 6.
CREATE FUNCTION format_width(format text) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN length(format) - length(replace(format, '#', ''));

-- Write a number: 'C-######', 42 -> 'C-000042'. A number with more digits than the format has '#' keeps them all:
-- 'SO-###', 1000 -> 'SO-1000'. Only orders and invoices get that far: account numbers end when their format is full.
CREATE FUNCTION format_number(format text, number bigint) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN replace(
    format,
    repeat('#', format_width(format)),
    -- lpad would cut a number that is longer than the length it is given.
    lpad(number::text, greatest(format_width(format), length(number::text)), '0'));

-- The part of a text that stands where the format has '#': 'C-######', 'C-000042' -> '000042'. It has at most as many
-- characters as the format has '#'.
CREATE FUNCTION number_part(format text, formatted text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN substr(formatted, strpos(format, '#'), format_width(format));

-- Read a number: 'C-######', 'C-000042' -> 42. NULL if the text is not in this format, or is too long for it.
CREATE FUNCTION parse_number(format text, formatted text) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    -- Checked first, so that the casts below cannot fail: a bigint holds every number of 18 digits, not counting
    -- leading zeros.
    WHEN number_part(format, formatted) ~ '^0*[0-9]{1,18}$' THEN
        CASE
            -- The text has the format if writing the number gives the same text again.
            WHEN formatted = format_number(format, number_part(format, formatted)::bigint)
            THEN number_part(format, formatted)::bigint
        END
    END;
