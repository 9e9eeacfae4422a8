-- What claimed edits show as active and an event had removed: addresses, contacts, and so on, or
-- the customers themselves.
--
-- Run by removals.restore_removals(). {table}: the rows of the kind, with their customer as
-- {owner}. {claimed}: the edits, with their customers; {history}: what was applied of these.
-- {entity_of_row}: what names `row`; {is_about_row}: that `event` is about it.
SELECT DISTINCT {entity_of_row}
  FROM {table} row JOIN {history} event ON {is_about_row}
 WHERE row.{owner} IN (SELECT customer_id FROM {claimed}) AND row.is_active
   AND event.operation = 'deactivate'
