-- Remove the entities again that only edits have brought back whose makers did not know of the
-- removal.
--
-- Run by removals.restore_removals(). {table}: HQ's rows. {edits}: the edits after a removal;
-- {entity}: the columns of the removed entity in them; {same_entity}: that `row` is the row of
-- `entity`.
UPDATE {table} row
   -- A channel takes a row again only in a higher version; the customer's was raised.
   SET is_active = false, hq_version = customer.hq_version
  FROM (SELECT {entity} FROM {edits} GROUP BY {entity} HAVING NOT bool_or(has_seen)) entity
  JOIN customer ON customer.id = entity.customer_id
 WHERE {same_entity}
