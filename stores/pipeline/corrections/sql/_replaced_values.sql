-- What stood in documents before a correction, and what it wrote.
SELECT c.transaction_id AS sale, c.line_number, c.old::{kind} AS new, c.new::{kind} AS was
  FROM transaction_change c
 WHERE c.correction = %(of)s AND c.field = %(name)s AND c.transaction_id = ANY(%(locked)s)
