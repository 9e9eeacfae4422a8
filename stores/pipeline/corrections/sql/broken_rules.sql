-- Find the rules that an event of HQ breaks: one row, with an array of their positions in the list
-- of rules, counted from 0.
--
-- Run by events.broken_rules(). {incoming}: the event. {every_broken}: the array.
SELECT {every_broken} FROM {incoming} incoming
