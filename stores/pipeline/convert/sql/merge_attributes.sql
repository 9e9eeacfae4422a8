-- Claimed events become rows that a customer has once by name: affiliations or attributes.
--
-- An event older than what is there changes nothing. Says how many events and rows there were, and
-- how many rows were written.
--
-- {key}: the name. {columns}: all, the name with them. {or_replace}: what is done about a row that
-- is there.
WITH {newest_events},
fresh AS (
  SELECT n.customer_id, {columns}, n.operation = 'deactivate' AS is_removal,
         n.last_operation <> 'deactivate' AS is_active, n.hq_version,
         n.last_at AS event_at, n.last_database AS event_database,
         n.last_generation AS event_generation, n.last_counter AS event_counter
    FROM newest n),
removed AS (
  UPDATE {table} old
     SET is_active = false, hq_version = f.hq_version, event_at = f.event_at,
         event_database = f.event_database, event_generation = f.event_generation,
         event_counter = f.event_counter
    FROM fresh f
   WHERE f.is_removal AND old.customer_id = f.customer_id AND old.{key} = f.{key}
     AND CASE WHEN old.event_database = f.event_database
              THEN (f.event_generation, f.event_counter)
                 > (old.event_generation, old.event_counter)
              ELSE (f.event_at, database_place(f.event_database))
                 > (old.event_at, database_place(old.event_database)) END
  RETURNING 1),
written AS (
  INSERT INTO {table} AS old (customer_id, {columns}, is_active, hq_version,
                              event_at, event_database, event_generation, event_counter)
  SELECT customer_id, {columns}, is_active, hq_version,
         event_at, event_database, event_generation, event_counter
    FROM fresh f
   WHERE NOT f.is_removal
      OR NOT EXISTS (SELECT FROM {table} old
                      WHERE old.customer_id = f.customer_id AND old.{key} = f.{key})
  {or_replace} RETURNING 1)
SELECT (SELECT count(*) FROM taken), (SELECT count(*) FROM fresh),
       (SELECT count(*) FROM removed) + (SELECT count(*) FROM written)
