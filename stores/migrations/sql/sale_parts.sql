-- The part of a sale that an error is about, by its line number and field: header, line or payment.
CREATE FUNCTION sale_part(line_number integer, field text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN line_number IS NULL THEN 'header'
            WHEN field IN ('tender_type', 'amount', 'currency') THEN 'payment'
            ELSE 'line' END;
