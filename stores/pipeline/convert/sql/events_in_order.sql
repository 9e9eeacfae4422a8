-- The events of one kind in a chunk's batches, in the order of each database.
--
-- Run by convert.batch_keys(). {events}: those of the chunk.
SELECT event.event_id FROM ({events}) event
 ORDER BY event.database_id, event.generation, event.replication_counter
