-- The events of one table that HQ holds from a channel and that are no longer there.
--
-- Channels may delete events once they were acknowledged for {retention}.
SELECT c.label AS channel, {name} AS "table", s.event_id::text
  FROM {event} s JOIN {channels} c USING (database_id)
  LEFT JOIN {copy} v ON v.database_id = s.database_id AND v.event_id = s.event_id
 WHERE v.event_id IS NULL AND s.generation = c.generation
   AND s.staged_at < c.read_at AND s.staged_at > now() - {retention} AND {condition}
