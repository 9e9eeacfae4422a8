-- Find the entities that claimed edits show as active, and that an event had removed. One row is an
-- entity: a customer, address, contact, affiliation or attribute.
--
-- Run by removals.restore_removals(). {table}: HQ's rows, with their customer as {owner}.
-- {claimed}: the edits with their customers; {history}: the events that were applied to these.
-- {entity_of_row}: what identifies the entity of `row`; {is_about_row}: that `event` is about it.
SELECT DISTINCT {entity_of_row}
  FROM {table} row JOIN {history} event ON {is_about_row}
 WHERE row.{owner} IN (SELECT customer_id FROM {claimed}) AND row.is_active
   AND event.operation = 'deactivate'
