-- Write a field of one part of many transactions, and record the old and the new values.
--
-- Returns the transactions that changed. {wanted}: a query for sale, line_number and new.
-- {condition}: that row p of the part may get the value of row f of the query. {own_line}: that p and
-- f are the same line; true for a header.
WITH wanted AS ({wanted}),
change AS (
  SELECT f.sale, f.line_number, p.{field} AS old, f.new
    FROM wanted f JOIN {table} p ON p.{key} = f.sale AND {own_line}
   WHERE p.{field} IS DISTINCT FROM f.new AND ({condition})),
recorded AS (
  INSERT INTO transaction_change (transaction_id, line_number, field, old, new, reason,
                                  changed_by_id, correction)
  SELECT sale, line_number, %(name)s, old::text, new::text, %(reason)s, %(user)s, %(correction)s
    FROM change),
updated AS (
  UPDATE {table} p SET {field} = f.new FROM change f
   WHERE p.{key} = f.sale AND {own_line} RETURNING f.sale)
SELECT DISTINCT sale FROM updated
