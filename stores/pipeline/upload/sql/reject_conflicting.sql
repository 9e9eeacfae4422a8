-- Reject the incoming rows whose event id HQ has staged with other content.
--
-- Run by staging.reject_conflicting(). {event}: the staging table; {incoming}: the rows;
-- {rejected}: the work table of rejected rows. {content}: the columns that make two events of one
-- id the same, as staging would hold them; {held_content}: as it does.
INSERT INTO {rejected} (replication_counter, reason, field, rule)
SELECT incoming.replication_counter, 'event_conflict' AS reason, 'event_id' AS field,
       'an id of its own' AS rule
  FROM {incoming} incoming JOIN {event} held USING (event_id)
 WHERE held.erased_at IS NULL AND ({content}) IS DISTINCT FROM ({held_content})
    ON CONFLICT DO NOTHING
