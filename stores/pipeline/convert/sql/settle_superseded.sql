-- Settle the claimed events of customers that came too late to change anything.
--
-- Run by known_customers.update_customers(). {claimed}: the events, with their customers. All
-- claimed events of a customer are superseded if the customer shows none of them.
WITH taken AS MATERIALIZED (
  SELECT claimed.customer_id, event.event_id, event.batch_id, event.database_id, event.generation,
         event.replication_counter
    FROM {claimed} claimed JOIN async_customer event ON event.event_id = claimed.event_id)
INSERT INTO settled_event ("table", event_id, batch_id, outcome, applied_at, run_id)
SELECT 'async_customer', taken.event_id, taken.batch_id, 'superseded', now(), %(run)s::uuid
  FROM taken JOIN customer ON customer.id = taken.customer_id
 WHERE NOT EXISTS (SELECT FROM taken shown
                    WHERE shown.customer_id = customer.id
                      AND coalesce(shown.database_id, 0) = customer.event_database
                      AND shown.generation = customer.event_generation
                      AND shown.replication_counter = customer.event_counter)
    ON CONFLICT ("table", event_id) DO UPDATE SET outcome = excluded.outcome
