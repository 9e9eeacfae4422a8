-- Claimed events become rows that have an id of their own: addresses or contacts.
--
-- Run by merge.merge_children_of_new() and merge_children_of_known(). An event older than what is
-- there changes nothing, and nobody gets a row of another customer. Of several primaries of a
-- customer the latest event's wins, for each {within}: purpose or kind. Says how many events and
-- rows there were, and how many rows were written.
--
-- {newest_events}: the WITH parts `taken` and `newest`. {table}: the rows; {key}: their id;
-- {columns}: all others but is_primary. {is_known}: whether the customers were there before; new
-- ones own nothing yet. {primary_is_free}: that event `newest` may become the primary of one who
-- was. {or_replace}: what is done about a row that is there; see its file.
WITH {newest_events},
-- Whose an id is that several customers name at once: its owner's, else the earliest's.
owners AS (
  SELECT DISTINCT ON (newest.{key}) newest.{key}, newest.customer_id FROM newest
   WHERE newest.{key} IN (SELECT {key} FROM newest GROUP BY {key} HAVING count(*) > 1)
   ORDER BY newest.{key},
            NOT {is_known} OR NOT EXISTS (
                SELECT FROM {table} old
                 WHERE old.{key} = newest.{key} AND old.customer_id = newest.customer_id),
            newest.event_at, newest.event_database, newest.event_generation, newest.event_counter),
fresh AS (
  SELECT newest.customer_id, newest.{key}, {columns},
         newest.is_primary AND (newest.last_operation = 'deactivate' OR (
             row_number() OVER (
                 PARTITION BY newest.customer_id, newest.{within}, newest.is_primary,
                              newest.last_operation = 'deactivate'
                 ORDER BY newest.event_at DESC, newest.event_database DESC,
                          newest.event_generation DESC, newest.event_counter DESC) = 1
             AND (newest.hq_version = 1 OR {primary_is_free})))
         AS is_primary,
         newest.operation = 'deactivate' AS is_removal,
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
  INSERT INTO {table} AS old (customer_id, {key}, {columns}, is_primary, is_active, hq_version,
                              event_at, event_database, event_generation, event_counter)
  SELECT customer_id, {key}, {columns}, is_primary, is_active, hq_version,
         event_at, event_database, event_generation, event_counter
    FROM fresh
   WHERE NOT EXISTS (SELECT FROM owners
                      WHERE owners.{key} = fresh.{key} AND owners.customer_id <> fresh.customer_id)
     AND (NOT fresh.is_removal
          OR NOT EXISTS (SELECT FROM {table} old
                          WHERE old.customer_id = fresh.customer_id AND old.{key} = fresh.{key}))
  {or_replace} RETURNING 1)
SELECT (SELECT count(*) FROM taken) AS events, (SELECT count(*) FROM fresh) AS entities,
       (SELECT count(*) FROM removed) + (SELECT count(*) FROM written) AS written
