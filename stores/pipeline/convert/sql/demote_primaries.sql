-- Make room for the primaries that claimed events are about to set.
--
-- Run by merge.demote_primaries(). {claimed}: the events, with their customers. {table}: addresses
-- or contacts, with id {key}; {event}: their staging table. {within}: what only one of a customer's
-- may be primary for, purpose or kind; {within_of_event}: of `event`, as HQ keeps it. Only events
-- later than the row count.
UPDATE {table} old SET is_primary = false, hq_version = claimed.hq_version
  FROM {claimed} claimed JOIN {event} event ON event.event_id = claimed.event_id
 WHERE event.is_primary AND event.operation <> 'deactivate'
   AND old.customer_id = claimed.customer_id AND old.is_primary AND old.is_active
   AND old.{within} = {within_of_event} AND old.{key} <> event.{key}
   AND CASE WHEN coalesce(event.database_id, 0) = old.event_database
            THEN (event.generation, event.replication_counter)
               > (old.event_generation, old.event_counter)
            ELSE (least(event.occurred_at, event.staged_at), database_place(event.database_id))
               > (old.event_at, database_place(old.event_database)) END
