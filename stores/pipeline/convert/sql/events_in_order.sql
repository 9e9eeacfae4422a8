-- List the events of one kind in a chunk, as each database wrote them. One row is an event.
--
-- Run by convert.batch_keys(). {events}: the events of the chunk.
SELECT event.event_id FROM ({events}) event
 ORDER BY event.database_id, event.generation, event.replication_counter
