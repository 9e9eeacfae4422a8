-- The places of all rules that an event of HQ breaks.
--
-- Run by events.broken_rules(). {every_broken}: an array of the places, by the columns of the
-- event. {incoming}: the event.
SELECT {every_broken} FROM {incoming} incoming
