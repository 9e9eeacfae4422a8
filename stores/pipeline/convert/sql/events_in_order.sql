-- The events of one kind in a chunk's batches, in the order of each database.
SELECT s.event_id FROM ({events}) s
 ORDER BY s.database_id, s.generation, s.replication_counter
