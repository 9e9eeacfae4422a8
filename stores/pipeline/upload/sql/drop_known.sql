-- Delete the incoming rows that HQ has staged before with the same content.
--
-- Run by staging.drop_known(). {event}: the staging table; {incoming}: the rows. {content}: the
-- columns that make two events of one id the same, as staging would hold them; {held_content}: as
-- it does.
DELETE FROM {incoming} incoming USING {event} held
 WHERE held.event_id = incoming.event_id AND ({content}) IS NOT DISTINCT FROM ({held_content})
