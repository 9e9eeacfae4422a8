-- Events of one kind with other values in the channel than at HQ, and the differing columns.
--
-- Another channel's event of the same id is quarantined, and not compared. {held}: the columns of
-- staged event s. {sent}: those of the channel's event v, as HQ would stage them. {differing}: the
-- name of each differing column.
SELECT seen.label AS channel, {name} AS "table", s.event_id::text,
       array_to_string(ARRAY[{differing}], ' ') AS columns
  FROM {contents} v
  JOIN {channels} seen USING (database_id)
  JOIN {event} s USING (event_id, database_id)
 WHERE s.status <> 'erased' AND ({held}) IS DISTINCT FROM ({sent})
