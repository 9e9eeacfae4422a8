-- Take out of the incoming rows those that HQ holds already, word for word.
--
-- {content}: what makes two events of one id the same, as staging would hold it; {held_content}:
-- as it does. A copied channel may count them otherwise, so the counter is not in it.
DELETE FROM {incoming} i USING {event} s
 WHERE s.event_id = i.event_id AND ({content}) IS NOT DISTINCT FROM ({held_content})
