-- Make room for the primaries that claimed events are about to set.
--
-- {within}: what only one of a customer's addresses or contacts may be primary for, purpose or
-- kind; {within_of_event}: of event t, as HQ keeps it.
UPDATE {table} old SET is_primary = false, hq_version = c.hq_version
  FROM {claimed} c JOIN {event} t ON t.event_id = c.event_id
 WHERE t.is_primary AND t.operation <> 'deactivate'
   AND old.customer_id = c.customer_id AND old.is_primary AND old.is_active
   AND old.{within} = {within_of_event} AND old.{key} <> t.{key}
   AND CASE WHEN coalesce(t.database_id, 0) = old.event_database
            THEN (t.generation, t.replication_counter)
               > (old.event_generation, old.event_counter)
            ELSE (least(t.occurred_at, t.staged_at), database_place(t.database_id))
               > (old.event_at, database_place(old.event_database)) END
