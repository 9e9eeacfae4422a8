-- The acknowledged events of one table that HQ has neither staged nor quarantined.
--
-- A copied database has the receipts of its original, so HQ may have an event from any database.
-- {columns}: columns of event v and of its channel c.
SELECT {columns}
  FROM {copy} v JOIN {channels} c USING (database_id)
  LEFT JOIN {event} s ON s.event_id = v.event_id
 WHERE s.event_id IS NULL AND v.acknowledged_at IS NOT NULL
   AND NOT EXISTS (SELECT FROM quarantine
                    WHERE quarantine.event_id = v.event_id AND quarantine."table" = {name})
   -- An event without a readable id is quarantined by its counter.
   AND NOT EXISTS (SELECT FROM quarantine
                    WHERE quarantine.database_id = v.database_id AND quarantine."table" = {name}
                      AND quarantine.row_key = v.replication_counter::text
                      AND (quarantine.event_id IS NULL OR v.event_id IS NULL))
 ORDER BY v.database_id, v.replication_counter
