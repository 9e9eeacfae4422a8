-- Write a field of one part of many transactions, and record the old and the new values.
--
-- Run by bulk.replace_values(). One row of the result is a transaction that changed. {new_values}:
-- a query for sale, line_number, and the texts new and written. {table}, {key}, {field}, {type}:
-- the part, its column with the id of the transaction, the field, and its type. {same_line}: that
-- `part` and `change` are the same line; true for a header.
WITH change AS (
  SELECT sale, line_number, new::{type} AS new, written::{type} AS written
    FROM ({new_values}) new_value),
changed AS (
  SELECT change.sale, change.line_number, part.{field} AS old, change.new
    FROM change JOIN {table} part ON part.{key} = change.sale AND {same_line}
   WHERE part.{field} IS DISTINCT FROM change.new
     AND (NOT %(only_unchanged)s OR part.{field} IS NOT DISTINCT FROM change.written)),
recorded AS (
  INSERT INTO transaction_change (transaction_id, line_number, field, old, new, reason,
                                  changed_by_id, correction)
  SELECT sale, line_number, %(field)s, old::text, new::text, %(reason)s, %(user)s, %(correction)s
    FROM changed),
updated AS (
  UPDATE {table} part SET {field} = change.new
    FROM changed change
   WHERE part.{key} = change.sale AND {same_line}
  RETURNING change.sale)
SELECT DISTINCT sale FROM updated
