-- Events of one kind of which channel and HQ hold different contents, with the columns that differ.
--
-- Another channel's event of the same id is none of ours: it was set aside. {held}: the columns of
-- staged event s; {sent}: those of the channel's event v, as staging would hold them; {differing}:
-- the name of each column in which they differ.
SELECT c.label AS channel, {name} AS "table", s.event_id::text,
       array_to_string(ARRAY[{differing}], ' ') AS columns
  FROM {contents} v JOIN {channels} c USING (database_id)
  JOIN {event} s USING (event_id, database_id)
 WHERE s.status <> 'erased' AND ({held}) IS DISTINCT FROM ({sent})
