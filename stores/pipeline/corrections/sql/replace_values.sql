-- Write a field of one part of many transactions, and record the old and the new values.
--
-- Run by bulk.replace_values(). Returns the transactions that changed. {new_values}: a query for
-- sale, line_number and new. {table}, {key}, {field}: the part, its column with the id of the
-- transaction, and the field. {condition}: that row `part` may get the value of row `change`.
-- {same_line}: that both are the same line; true for a header.
WITH new_value AS ({new_values}),
changed AS (
  SELECT change.sale, change.line_number, part.{field} AS old, change.new
    FROM new_value change
    JOIN {table} part ON part.{key} = change.sale AND {same_line}
   WHERE part.{field} IS DISTINCT FROM change.new AND ({condition})),
recorded AS (
  INSERT INTO transaction_change (transaction_id, line_number, field, old, new, reason,
                                  changed_by_id, correction)
  SELECT sale, line_number, %(name)s, old::text, new::text, %(reason)s, %(user)s, %(correction)s
    FROM changed),
updated AS (
  UPDATE {table} part SET {field} = change.new
    FROM changed change
   WHERE part.{key} = change.sale AND {same_line}
  RETURNING change.sale)
SELECT DISTINCT sale FROM updated
