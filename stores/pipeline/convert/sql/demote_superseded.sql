-- Make rows no longer primary where a later event had made another row of the customer primary.
--
-- Run by replay.replay(). {again}: the customers; {history}: the events that were applied to them.
-- {table}: the addresses or contacts; {key}: their id. Only one of a customer's addresses may be
-- primary for a purpose, and one of the contacts for a kind: {within} is that column,
-- {within_of_event} the value of `event` as HQ keeps it.
UPDATE {table} row
   SET is_primary = false,
       hq_version = (SELECT hq_version FROM customer WHERE customer.id = row.customer_id)
 WHERE row.customer_id IN (SELECT customer_id FROM {again}) AND row.is_primary AND row.is_active
   AND EXISTS (SELECT FROM {history} event
                WHERE event.customer_id = row.customer_id
                  AND event.is_primary AND event.operation <> 'deactivate'
                  AND event.{key} <> row.{key} AND {within_of_event} = row.{within}
                  AND (least(event.occurred_at, event.staged_at), database_place(event.database_id))
                    > (row.event_at, database_place(row.event_database)))
