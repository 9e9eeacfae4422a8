-- Settle the claimed events of customers that changed nothing: they came too late.
WITH taken AS MATERIALIZED (
  SELECT c.customer_id, t.event_id, t.batch_id, t.database_id, t.generation, t.replication_counter
    FROM {claimed} c JOIN async_customer t ON t.event_id = c.event_id)
INSERT INTO settled_event ("table", event_id, batch_id, outcome, applied_at, run_id)
SELECT 'async_customer', s.event_id, s.batch_id, 'superseded', now(), %(run)s::uuid
  FROM taken s JOIN customer k ON k.id = s.customer_id
 WHERE NOT EXISTS (SELECT FROM taken mine
                    WHERE mine.customer_id = k.id
                      AND coalesce(mine.database_id, 0) = k.event_database
                      AND mine.generation = k.event_generation
                      AND mine.replication_counter = k.event_counter)
    ON CONFLICT ("table", event_id) DO UPDATE SET outcome = excluded.outcome
