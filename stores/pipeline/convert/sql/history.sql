-- List the events of one kind that were applied to some customers, or came too late for them. One
-- row is an event, with its customer.
--
-- Run by chunk.applied_history(). An event belongs to the account that it names, or otherwise to
-- the customer of its GUID. {columns}: those of `event`. {view}: the events with their state.
-- {customers}: the work table of the customers.
SELECT guid.customer_id, {columns}
  FROM guid_map guid
  JOIN {view} event ON event.async_account = guid.async_account AND event.is_by_guid
 WHERE guid.customer_id IN (SELECT customer_id FROM {customers})
   AND event.status IN ('applied', 'superseded') AND event.reason IS NULL
 UNION ALL
SELECT customer.id AS customer_id, {columns}
  FROM customer
  JOIN {view} event ON event.company_id = customer.company_id
                   AND event.account_number = customer.account_number AND NOT event.is_by_guid
 WHERE customer.id IN (SELECT customer_id FROM {customers})
   AND event.status IN ('applied', 'superseded') AND event.reason IS NULL
