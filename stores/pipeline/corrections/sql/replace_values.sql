-- Write a field of one part of documents, row by row, and keep both values. Which sales changed.
--
-- {wanted}: sale, line_number and new; f in {condition}, which row p must meet. {own_line}: that p
-- is the line that is meant; a header has none.
WITH wanted AS ({wanted}),
found AS (
  SELECT f.sale, f.line_number, p.{field} AS old, f.new
    FROM wanted f JOIN {table} p ON p.{key} = f.sale AND {own_line}
   WHERE p.{field} IS DISTINCT FROM f.new AND ({condition})),
kept AS (
  INSERT INTO transaction_change (transaction_id, line_number, field, old, new, reason,
                                  changed_by_id, correction)
  SELECT sale, line_number, %(name)s, old::text, new::text, %(reason)s, %(user)s, %(correction)s
    FROM found),
written AS (
  UPDATE {table} p SET {field} = f.new FROM found f
   WHERE p.{key} = f.sale AND {own_line} RETURNING f.sale)
SELECT DISTINCT sale FROM written
