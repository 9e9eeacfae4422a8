-- Count the events of one kind in a chunk that are not those of its new customers.
--
-- Run by known_customers.claimed_events(). {other_events}: the query of _other_events.sql.
SELECT count(*) FROM ({other_events}) event
