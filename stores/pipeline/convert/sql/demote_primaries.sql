-- Make rows no longer primary where a later event is about to make another row primary.
--
-- Run by merge.demote_primaries(). Only one of a customer's addresses may be primary for a purpose,
-- and one of the contacts for a kind: {within} is that column, {within_of_event} the value of
-- `event` as HQ keeps it. {claimed}: the events, with their customers; {event}: their staging
-- table. {table}: the addresses or contacts; {key}: their id.
UPDATE {table} old SET is_primary = false, hq_version = claimed.hq_version
  FROM {claimed} claimed JOIN {event} event ON event.event_id = claimed.event_id
 WHERE event.is_primary AND event.operation <> 'deactivate'
   AND old.customer_id = claimed.customer_id AND old.is_primary AND old.is_active
   AND old.{within} = {within_of_event} AND old.{key} <> event.{key}
   AND is_later(least(event.occurred_at, event.staged_at), coalesce(event.database_id, 0),
                event.generation, event.replication_counter,
                old.event_at, old.event_database, old.event_generation, old.event_counter)
