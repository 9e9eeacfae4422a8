-- The false receipts of one table: one row for each event that HQ has acknowledged in its channel,
-- but has neither staged nor quarantined.
--
-- For checks I7 and I15, reconcile and recover. A copied database has the receipts of its original,
-- so HQ may have an event from any database. {copy}: the channels' events. {channels}: the
-- channels. {name}, {event}: the staging table.
SELECT held.database_id, seen.label AS channel, {name} AS "table", held.event_id::text,
       held.replication_counter
  FROM {copy} held JOIN {channels} seen USING (database_id)
  LEFT JOIN {event} event ON event.event_id = held.event_id
 WHERE event.event_id IS NULL AND held.acknowledged_at IS NOT NULL
   AND NOT EXISTS (SELECT FROM quarantine
                    WHERE quarantine.event_id = held.event_id AND quarantine."table" = {name})
   -- An event without a readable id is quarantined by its counter.
   AND NOT EXISTS (SELECT FROM quarantine
                    WHERE quarantine.database_id = held.database_id AND quarantine."table" = {name}
                      AND quarantine.row_key = held.replication_counter::text
                      AND (quarantine.event_id IS NULL OR held.event_id IS NULL))
 ORDER BY held.database_id, held.replication_counter
