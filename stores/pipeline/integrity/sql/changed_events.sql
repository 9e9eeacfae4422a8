-- Changed events of one kind: one row for each with other values in the channel than at HQ.
--
-- For check I40, and for reconcile. Another channel's event of the same id is quarantined, and not
-- compared. {channels}: the channels. {contents}: their events. {name}, {event}: the staging table.
-- {columns}: those of staged `event`. {sent}: those of the channel's event `held`, as HQ would
-- stage them. {differing}: for each column its name if it differs, else NULL.
SELECT seen.label AS channel, {name} AS "table", event.event_id::text,
       array_to_string(ARRAY[{differing}], ' ') AS columns
  FROM {contents} held
  JOIN {channels} seen USING (database_id)
  JOIN {event} event USING (event_id, database_id)
 WHERE event.erased_at IS NULL AND ({columns}) IS DISTINCT FROM ({sent})
