-- That event `newest` may become the primary of a customer whom HQ knew before.
--
-- A condition in merge_addresses. {table}: addresses or contacts, with id {key}. {history}: what
-- was applied of these customers. {within}: purpose or kind; {within_of_event}: of `event`, as HQ
-- keeps it.
NOT EXISTS (
    SELECT FROM {table} other
     WHERE other.customer_id = newest.customer_id AND other.{within} = newest.{within}
       AND other.is_primary AND other.is_active AND other.{key} <> newest.{key})
-- Nor had a later event given the place to another one, for good.
AND NOT EXISTS (
    SELECT FROM {history} event
     WHERE event.customer_id = newest.customer_id AND event.is_primary
       AND event.operation <> 'deactivate' AND event.{key} <> newest.{key}
       AND {within_of_event} = newest.{within}
       AND (least(event.occurred_at, event.staged_at), database_place(event.database_id))
         > (newest.event_at, database_place(newest.event_database)))
