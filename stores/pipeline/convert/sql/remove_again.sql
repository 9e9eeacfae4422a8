-- Remove what only edits had brought back whose makers had not seen the removal.
--
-- Run by removals.restore_removals(). {table}: the rows of the kind. {edits}: the edits after a
-- removal. {entity}: what names the removed row in them; {same_entity}: that it is `row`.
UPDATE {table} row
   -- A channel takes a row again only in a higher version; the customer's was raised.
   SET is_active = false, hq_version = customer.hq_version
  FROM (SELECT {entity} FROM {edits} GROUP BY {entity} HAVING NOT bool_or(has_seen)) entity
  JOIN customer ON customer.id = entity.customer_id
 WHERE {same_entity}
