-- That event n may become the primary of a customer whom HQ knew before.
--
-- {history}: what was applied of these customers. {within}: purpose or kind; {within_of_event}: of
-- event t, as HQ keeps it.
NOT EXISTS (
    SELECT FROM {table} other
     WHERE other.customer_id = n.customer_id AND other.{within} = n.{within}
       AND other.is_primary AND other.is_active AND other.{key} <> n.{key})
-- Nor had a later event given the place to another one, for good.
AND NOT EXISTS (
    SELECT FROM {history} t
     WHERE t.customer_id = n.customer_id AND t.is_primary AND t.operation <> 'deactivate'
       AND t.{key} <> n.{key} AND {within_of_event} = n.{within}
       AND (least(t.occurred_at, t.staged_at), database_place(t.database_id))
         > (n.last_at, database_place(n.last_database)))
