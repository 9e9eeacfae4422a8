-- Claimed events become rows that a customer has once by name: affiliations or attributes.
--
-- Run by merge.merge_children_of_new() and merge_children_of_known(). An event older than what is
-- there changes nothing. Says how many events and rows there were, and how many rows were written.
--
-- {newest_events}: the WITH parts `taken` and `newest`. {table}: the rows; {key}: their name;
-- {columns}: all, the name with them. {or_replace}: what is done about a row that is there; see its
-- file.
WITH {newest_events},
fresh AS (
  SELECT newest.customer_id, {columns}, newest.operation = 'deactivate' AS is_removal,
         newest.last_operation <> 'deactivate' AS is_active, newest.hq_version,
         newest.event_at, newest.event_database, newest.event_generation, newest.event_counter
    FROM newest),
removed AS (
  UPDATE {table} old
     SET is_active = false, hq_version = fresh.hq_version, event_at = fresh.event_at,
         event_database = fresh.event_database, event_generation = fresh.event_generation,
         event_counter = fresh.event_counter
    FROM fresh
   WHERE fresh.is_removal AND old.customer_id = fresh.customer_id AND old.{key} = fresh.{key}
     AND CASE WHEN old.event_database = fresh.event_database
              THEN (fresh.event_generation, fresh.event_counter)
                 > (old.event_generation, old.event_counter)
              ELSE (fresh.event_at, database_place(fresh.event_database))
                 > (old.event_at, database_place(old.event_database)) END
  RETURNING 1),
written AS (
  INSERT INTO {table} AS old (customer_id, {columns}, is_active, hq_version,
                              event_at, event_database, event_generation, event_counter)
  SELECT customer_id, {columns}, is_active, hq_version,
         event_at, event_database, event_generation, event_counter
    FROM fresh
   WHERE NOT fresh.is_removal
      OR NOT EXISTS (SELECT FROM {table} old
                      WHERE old.customer_id = fresh.customer_id AND old.{key} = fresh.{key})
  {or_replace} RETURNING 1)
SELECT (SELECT count(*) FROM taken) AS events, (SELECT count(*) FROM fresh) AS entities,
       (SELECT count(*) FROM removed) + (SELECT count(*) FROM written) AS written
