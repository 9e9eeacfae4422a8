-- Write the merged fields of some rows.
--
-- Run by concurrent_edits.write_merged(). {table}: HQ's rows, with their customer as {owner};
-- {same_row}: that `row` is the row of `entity`. {columns}: the fields; {merged}: their values in
-- `entity`, or in `row` where no event states them; {held}: their present values in `row`.
WITH entity AS (
  SELECT * FROM jsonb_populate_recordset(NULL::{table}, %(rows)s::jsonb))
UPDATE {table} row
   SET ({columns}, hq_version)
     -- A channel takes a row again only in a higher version; the customer's is raised already.
     = ROW ({merged}, (SELECT customer.hq_version FROM customer WHERE customer.id = row.{owner}))
  FROM entity
 WHERE {same_row} AND ({held}) IS DISTINCT FROM ({merged})
