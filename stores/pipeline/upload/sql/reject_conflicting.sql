-- Name the incoming rows whose event id HQ holds with other content; equal ones are merely known.
--
-- Run by staging.reject_conflicting(). {event}: the staging table; {incoming}: the rows;
-- {rejected}: the work table that names them. {content}: what makes two events of one id the same,
-- as staging would hold it; {held_content}: as it does.
INSERT INTO {rejected} (replication_counter, reason, field, rule)
SELECT incoming.replication_counter, 'event_conflict', 'event_id', 'an id of its own'
  FROM {incoming} incoming JOIN {event} held USING (event_id)
 WHERE held.erased_at IS NULL AND ({content}) IS DISTINCT FROM ({held_content})
    ON CONFLICT DO NOTHING
