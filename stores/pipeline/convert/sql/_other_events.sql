-- The events of one kind in a chunk that are not those of its new customers.
--
-- A part of claim_events and count_others. {events}: the events of the chunk. {new_customers}: its
-- new customers; {is_of_new}: that `event` belongs to the customer of `claimed`.
SELECT event.event_id, event.batch_id, event.company_id, event.async_account,
       event.account_number, event.database_id, event.staged_at
  FROM ({events}) event
 WHERE NOT EXISTS (SELECT FROM {new_customers} claimed WHERE {is_of_new})
