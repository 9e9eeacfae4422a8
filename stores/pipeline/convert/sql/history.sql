-- All events of one kind of some customers that were applied, or came too late, with their
-- customer.
--
-- {columns}: of event t. {view}: the events with their state. {customers}: whose.
SELECT m.customer_id, {columns}
  FROM guid_map m
  JOIN {view} t ON t.async_account = m.async_account AND t.is_by_guid
 WHERE m.customer_id IN (SELECT customer_id FROM {customers})
   AND t.status IN ('applied', 'superseded') AND t.reason IS NULL
 UNION ALL
SELECT k.id, {columns}
  FROM customer k
  JOIN {view} t ON t.company_id = k.company_id AND t.account_number = k.account_number
   AND NOT t.is_by_guid
 WHERE k.id IN (SELECT customer_id FROM {customers})
   AND t.status IN ('applied', 'superseded') AND t.reason IS NULL
