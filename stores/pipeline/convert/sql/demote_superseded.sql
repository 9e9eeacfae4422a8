-- Take back primaries that a later event had given to another address or contact of the customer.
--
-- {history}: what was applied of these customers. {within}: purpose or kind; {within_of_event}: of
-- event t, as HQ keeps it.
UPDATE {table} r
   SET is_primary = false,
       hq_version = (SELECT k.hq_version FROM customer k WHERE k.id = r.customer_id)
 WHERE r.customer_id IN (SELECT customer_id FROM {again}) AND r.is_primary AND r.is_active
   AND EXISTS (SELECT FROM {history} t
                WHERE t.customer_id = r.customer_id
                  AND t.is_primary AND t.operation <> 'deactivate'
                  AND t.{key} <> r.{key} AND {within_of_event} = r.{within}
                  AND (least(t.occurred_at, t.staged_at), database_place(t.database_id))
                    > (r.event_at, database_place(r.event_database)))
