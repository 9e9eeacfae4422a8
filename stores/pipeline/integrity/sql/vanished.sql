-- The vanished events of one table: one row for each that HQ has but its channel no longer has.
--
-- For check I9, and for reconcile. {name}, {event}: the staging table. {channels}: the channels.
-- {copy}: their events. {retention}: how long after their acknowledgement channels may delete
-- events. {condition}: which staged events to look for.
SELECT seen.label AS channel, {name} AS "table", event.event_id::text
  FROM {event} event JOIN {channels} seen USING (database_id)
  LEFT JOIN {copy} held ON held.database_id = event.database_id AND held.event_id = event.event_id
 WHERE held.event_id IS NULL AND event.generation = seen.generation
   AND event.staged_at < seen.read_at AND event.staged_at > now() - {retention}
   AND {condition}
