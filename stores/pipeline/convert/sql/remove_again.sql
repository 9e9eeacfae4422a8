-- Remove what only edits had brought back whose makers had not seen the removal.
--
-- {entity}: what names an entity in the edits. {same_entity}: that row r is the one of u.
UPDATE {table} r
   -- A channel takes a row again only in a higher version; the customer's was raised.
   SET is_active = false, hq_version = k.hq_version
  FROM (SELECT {entity} FROM {edits} GROUP BY {entity} HAVING NOT bool_or(has_seen)) u
  JOIN customer k ON k.id = u.customer_id
 WHERE {same_entity}
