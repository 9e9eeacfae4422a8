-- Write what the newest events say of addresses or contacts into HQ's rows.
--
-- Run by merge.merge_children_of_new() and merge_children_of_known(). It returns one row: how many
-- events and how many addresses (or contacts) there were, and how many rows it wrote. It changes
-- nothing where HQ's row shows a later event, or belongs to another customer. Several addresses of
-- a customer may claim to be primary for the same {within} (the purpose of an address, the kind of
-- a contact): the one with the latest event wins.
--
-- {newest_events}: the CTEs `taken` and `newest` of _newest_events.sql. {table}: HQ's rows; {key}:
-- their id; {columns}: all their columns but the id and is_primary. {is_known}: whether HQ knew the
-- customers before; {history}: the events that were applied to these, with {within_of_event} as HQ
-- keeps it. {on_conflict}: nothing, or the clause of _on_conflict_replace.sql.
WITH {newest_events},
-- An id that several customers name belongs to its owner in HQ, or else to the first to name it.
owner AS (
  SELECT DISTINCT ON (newest.{key}) newest.{key}, newest.customer_id FROM newest
   WHERE newest.{key} IN (SELECT {key} FROM newest GROUP BY {key} HAVING count(*) > 1)
   ORDER BY newest.{key},
            NOT {is_known} OR NOT EXISTS (
                SELECT FROM {table} old
                 WHERE old.{key} = newest.{key} AND old.customer_id = newest.customer_id),
            newest.event_at, newest.event_database, newest.event_generation, newest.event_counter),
ranked AS (
  SELECT *, row_number() OVER (
             PARTITION BY customer_id, {within}, is_primary, last_operation = 'deactivate'
             ORDER BY event_at DESC, event_database DESC, event_generation DESC,
                      event_counter DESC) AS rank
    FROM newest),
fresh AS (
  SELECT customer_id, {key}, {columns}, hq_version,
         event_at, event_database, event_generation, event_counter,
         operation = 'deactivate' AS is_removal, last_operation <> 'deactivate' AS is_active,
         is_primary AND (
             last_operation = 'deactivate'
             OR (rank = 1
                 AND (NOT {is_known} OR (
                      -- No other row is the primary one.
                      NOT EXISTS (
                          SELECT FROM {table} other
                           WHERE other.customer_id = ranked.customer_id
                             AND other.{within} = ranked.{within}
                             AND other.is_primary AND other.is_active
                             AND other.{key} <> ranked.{key})
                      -- No later event has made another row the primary one.
                      AND NOT EXISTS (
                          SELECT FROM {history} event
                           WHERE event.customer_id = ranked.customer_id AND event.is_primary
                             AND event.operation <> 'deactivate' AND event.{key} <> ranked.{key}
                             AND {within_of_event} = ranked.{within}
                             AND (least(event.occurred_at, event.staged_at),
                                  database_place(event.database_id))
                               > (ranked.event_at, database_place(ranked.event_database)))))))
         AS is_primary
    FROM ranked),
removed AS (
  UPDATE {table} old
     SET is_active = false, hq_version = fresh.hq_version, event_at = fresh.event_at,
         event_database = fresh.event_database, event_generation = fresh.event_generation,
         event_counter = fresh.event_counter
    FROM fresh
   WHERE fresh.is_removal AND old.customer_id = fresh.customer_id AND old.{key} = fresh.{key}
     AND is_later(fresh.event_at, fresh.event_database, fresh.event_generation, fresh.event_counter,
                  old.event_at, old.event_database, old.event_generation, old.event_counter)
  RETURNING 1),
written AS (
  INSERT INTO {table} AS old (customer_id, {key}, {columns}, is_primary, is_active, hq_version,
                              event_at, event_database, event_generation, event_counter)
  SELECT customer_id, {key}, {columns}, is_primary, is_active, hq_version,
         event_at, event_database, event_generation, event_counter
    FROM fresh
   WHERE NOT EXISTS (SELECT FROM owner
                      WHERE owner.{key} = fresh.{key} AND owner.customer_id <> fresh.customer_id)
     AND (NOT fresh.is_removal
          OR NOT EXISTS (SELECT FROM {table} old
                          WHERE old.customer_id = fresh.customer_id AND old.{key} = fresh.{key}))
  {on_conflict} RETURNING 1)
SELECT (SELECT count(*) FROM taken) AS events, (SELECT count(*) FROM fresh) AS entities,
       (SELECT count(*) FROM removed) + (SELECT count(*) FROM written) AS written
