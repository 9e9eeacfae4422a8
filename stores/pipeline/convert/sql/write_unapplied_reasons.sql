-- Say of the transaction's events that changed nothing why: they came too late, or named what
-- belongs to another customer.
--
-- {key}: by which a row is known, beside its customer where {is_customers_own}: an affiliation of
-- the same name is another customer's too, an id is not.
UPDATE {event} s
   SET status = CASE WHEN row.customer_id = s.customer_id THEN 'superseded' ELSE 'failed' END,
       reason = CASE WHEN row.customer_id = s.customer_id THEN NULL
                     ELSE 'belongs_to_another' END,
       field = CASE WHEN row.customer_id = s.customer_id THEN NULL ELSE {field} END
  FROM {table} row
 WHERE s.applied_at = now() AND s.status = 'applied'
   AND s.customer_id IN (SELECT customer_id FROM {claimed})
   AND row.{key} = s.{key} AND (NOT {is_customers_own} OR row.customer_id = s.customer_id)
   AND NOT EXISTS (SELECT FROM {event} mine
                    WHERE mine.customer_id = s.customer_id
                      AND mine.applied_at = now()
                      AND row.customer_id = mine.customer_id
                      AND coalesce(mine.database_id, 0) = row.event_database
                      AND mine.generation = row.event_generation
                      AND mine.replication_counter = row.event_counter)
