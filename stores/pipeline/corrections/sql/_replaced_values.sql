-- The old values of a field, which an undo writes back, and the values that the correction wrote.
--
-- A part of replace_values, by undo.undo_batch(). {kind}: the type of the column.
SELECT transaction_id AS sale, line_number, old::{kind} AS new, new::{kind} AS was
  FROM transaction_change
 WHERE correction = %(of)s AND field = %(name)s AND transaction_id = ANY(%(locked)s)
