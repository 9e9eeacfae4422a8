-- List the events of one kind that were applied to some customers, or came too late for them. One
-- row is an event, with its customer.
--
-- Run by chunk.applied_history(). An event belongs to the account that it names, or otherwise to
-- the customer of its GUID. {columns}: those of `event`. {view}: the events with their state.
-- {customers}: the work table of the customers.
--
-- Everything is looked up customer by customer, by LATERAL with OFFSET 0: until the database has
-- counted its new rows, the planner takes a table for small, and would compare all events with all
-- customers.
WITH known AS MATERIALIZED (SELECT DISTINCT customer_id FROM {customers})
SELECT known.customer_id, {columns}
  FROM known
 CROSS JOIN LATERAL (
       SELECT async_account FROM guid_map WHERE customer_id = known.customer_id OFFSET 0) guid
 CROSS JOIN LATERAL (
       SELECT * FROM {view} of_guid
        WHERE of_guid.async_account = guid.async_account AND of_guid.is_by_guid OFFSET 0) event
 WHERE event.status IN ('applied', 'superseded') AND event.reason IS NULL
 UNION ALL
SELECT known.customer_id, {columns}
  FROM known
 CROSS JOIN LATERAL (
       SELECT company_id, account_number FROM customer WHERE id = known.customer_id OFFSET 0) account
 CROSS JOIN LATERAL (
       SELECT * FROM {view} of_account
        WHERE of_account.company_id = account.company_id
          AND of_account.account_number = account.account_number
          AND NOT of_account.is_by_guid OFFSET 0) event
 WHERE event.status IN ('applied', 'superseded') AND event.reason IS NULL
