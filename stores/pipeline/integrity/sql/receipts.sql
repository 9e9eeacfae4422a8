-- The acknowledged events of one table that HQ has in neither staging nor quarantine.
--
-- A copied database holds the receipts of its original, so an event with an id may have come from
-- any.
SELECT {columns}
  FROM {copy} v JOIN {channels} c USING (database_id)
  LEFT JOIN {event} s ON s.event_id = v.event_id
 WHERE s.event_id IS NULL AND v.acknowledged_at IS NOT NULL
   AND NOT EXISTS (SELECT FROM quarantine q
                    WHERE q.event_id = v.event_id AND q."table" = {name})
   AND NOT EXISTS (SELECT FROM quarantine q
                    WHERE q.database_id = v.database_id AND q."table" = {name}
                      AND q.row_key = v.replication_counter::text
                      AND (q.event_id IS NULL OR v.event_id IS NULL))
 ORDER BY v.database_id, v.replication_counter
