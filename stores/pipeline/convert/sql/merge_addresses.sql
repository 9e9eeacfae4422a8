-- Claimed events become rows that have an id of their own: addresses or contacts.
--
-- An event older than what is there changes nothing, and nobody gets a row of another customer. Of
-- several primaries of a customer the latest event's wins, for each {within}: purpose or kind. Says
-- how many events and rows there were, and how many rows were written.
--
-- {key}: the id. {columns}: all others but is_primary. {is_known}: whether the customers were there
-- before; new ones own nothing yet. {primary_is_free}: that event n may become the primary of one
-- who was. {or_replace}: what is done about a row that is there.
WITH {newest_events},
-- Whose an id is that several customers name at once: its owner's, else the earliest's.
owners AS (
  SELECT DISTINCT ON (n.{key}) n.{key}, n.customer_id FROM newest n
   WHERE n.{key} IN (SELECT {key} FROM newest GROUP BY {key} HAVING count(*) > 1)
   ORDER BY n.{key},
            NOT {is_known} OR NOT EXISTS (
                SELECT FROM {table} old
                 WHERE old.{key} = n.{key} AND old.customer_id = n.customer_id),
            n.last_at, n.last_database, n.last_generation, n.last_counter),
fresh AS (
  SELECT n.customer_id, n.{key}, {columns},
         n.is_primary AND (n.last_operation = 'deactivate' OR (
             row_number() OVER (
                 PARTITION BY n.customer_id, n.{within}, n.is_primary,
                              n.last_operation = 'deactivate'
                 ORDER BY n.last_at DESC, n.last_database DESC, n.last_generation DESC,
                          n.last_counter DESC) = 1
             AND (n.hq_version = 1 OR {primary_is_free})))
         AS is_primary,
         n.operation = 'deactivate' AS is_removal, n.last_operation <> 'deactivate' AS is_active,
         n.hq_version, n.last_at AS event_at, n.last_database AS event_database,
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
  INSERT INTO {table} AS old (customer_id, {key}, {columns}, is_primary, is_active, hq_version,
                              event_at, event_database, event_generation, event_counter)
  SELECT customer_id, {key}, {columns}, is_primary, is_active, hq_version,
         event_at, event_database, event_generation, event_counter
    FROM fresh f
   WHERE NOT EXISTS (SELECT FROM owners o
                      WHERE o.{key} = f.{key} AND o.customer_id <> f.customer_id)
     AND (NOT f.is_removal
          OR NOT EXISTS (SELECT FROM {table} old
                          WHERE old.customer_id = f.customer_id AND old.{key} = f.{key}))
  {or_replace} RETURNING 1)
SELECT (SELECT count(*) FROM taken), (SELECT count(*) FROM fresh),
       (SELECT count(*) FROM removed) + (SELECT count(*) FROM written)
