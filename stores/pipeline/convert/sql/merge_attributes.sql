-- Write what the newest events say of affiliations or attributes into HQ's rows.
--
-- Run by merge.merge_children_of_new() and merge_children_of_known(). It returns one row: how many
-- events and how many affiliations (or attributes) there were, and how many rows it wrote. It
-- changes nothing where HQ's row shows a later event.
--
-- {newest_events}: the CTEs `taken` and `newest` of _newest_events.sql. {table}: HQ's rows; {key}:
-- their name; {columns}: all their columns, with the name. {on_conflict}: nothing, or the clause of
-- _on_conflict_replace.sql.
WITH {newest_events},
fresh AS (
  SELECT customer_id, {columns}, hq_version,
         event_at, event_database, event_generation, event_counter,
         operation = 'deactivate' AS is_removal, last_operation <> 'deactivate' AS is_active
    FROM newest),
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
  INSERT INTO {table} AS old (customer_id, {columns}, is_active, hq_version,
                              event_at, event_database, event_generation, event_counter)
  SELECT customer_id, {columns}, is_active, hq_version,
         event_at, event_database, event_generation, event_counter
    FROM fresh
   WHERE NOT fresh.is_removal
      OR NOT EXISTS (SELECT FROM {table} old
                      WHERE old.customer_id = fresh.customer_id AND old.{key} = fresh.{key})
  {on_conflict} RETURNING 1)
SELECT (SELECT count(*) FROM taken) AS events, (SELECT count(*) FROM fresh) AS entities,
       (SELECT count(*) FROM removed) + (SELECT count(*) FROM written) AS written
