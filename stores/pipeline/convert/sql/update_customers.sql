-- Claimed events change the customers that they name, unless they are older than what is there.
--
-- Says how many events there were, and how many customers they are about.
--
-- {new_values}: each column of the customer from event f; a deactivation keeps what is there.
WITH {newest_events},
fresh AS (
  SELECT n.*, n.last_at AS event_at, n.last_database AS event_database,
         n.last_generation AS event_generation, n.last_counter AS event_counter
    FROM newest n),
written AS (
  UPDATE customer old
     SET {new_values}, is_active = f.last_operation <> 'deactivate', event_at = f.event_at,
         event_database = f.event_database, event_generation = f.event_generation,
         event_counter = f.event_counter
    FROM fresh f
   WHERE old.id = f.customer_id
     AND CASE WHEN old.event_database = f.event_database
              THEN (f.event_generation, f.event_counter)
                 > (old.event_generation, old.event_counter)
              ELSE (f.event_at, database_place(f.event_database))
                 > (old.event_at, database_place(old.event_database)) END
  RETURNING old.id)
SELECT (SELECT count(*) FROM taken), (SELECT count(*) FROM fresh)
