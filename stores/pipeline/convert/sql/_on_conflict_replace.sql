-- The ON CONFLICT clause of an insert: replace row `old` if it belongs to the same customer and the
-- event comes later than the one that it shows.
--
-- A part of merge_addresses and merge_attributes. {conflict}: the unique key of the table;
-- {changed}: the assignments of the columns.
ON CONFLICT ({conflict}) DO UPDATE
   SET {changed}, hq_version = excluded.hq_version,
       event_at = excluded.event_at, event_database = excluded.event_database,
       event_generation = excluded.event_generation, event_counter = excluded.event_counter
 WHERE old.customer_id = excluded.customer_id
   AND is_later(excluded.event_at, excluded.event_database, excluded.event_generation,
                excluded.event_counter,
                old.event_at, old.event_database, old.event_generation, old.event_counter)
