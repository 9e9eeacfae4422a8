-- What claimed edits show as active and an event had removed: addresses, contacts, and so on, or
-- the customers themselves.
--
-- {history}: what was applied of these customers. {entity_of_row}: what names it, in row r.
-- {is_about_row}: that event t is about row r.
SELECT DISTINCT {entity_of_row}
  FROM {table} r JOIN {history} t ON {is_about_row}
 WHERE r.{owner} IN (SELECT customer_id FROM {claimed}) AND r.is_active
   AND t.operation = 'deactivate'
