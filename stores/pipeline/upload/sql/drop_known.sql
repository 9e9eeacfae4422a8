-- Take out of the incoming rows those that HQ holds already, word for word.
--
-- Run by staging.drop_known(). {event}: the staging table; {incoming}: the rows. {content}: what
-- makes two events of one id the same, as staging would hold it; {held_content}: as it does. A
-- copied channel may count them otherwise, so the counter is not in it.
DELETE FROM {incoming} incoming USING {event} held
 WHERE held.event_id = incoming.event_id AND ({content}) IS NOT DISTINCT FROM ({held_content})
