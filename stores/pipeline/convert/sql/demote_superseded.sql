-- Take back primaries that a later event had given to another address or contact of the customer.
--
-- Run by replay.replay(). {again}: the customers; {history}: what was applied of them. {table}:
-- addresses or contacts, with id {key}. {within}: purpose or kind; {within_of_event}: of `event`,
-- as HQ keeps it.
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
