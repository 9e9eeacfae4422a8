-- Find customers with an entity whose newest edit was made without knowledge of another edit of it.
-- One row is a customer.
--
-- Run by concurrent_edits.settle_concurrent_edits(). Most customers have edits of a single
-- database, and most newest edits know all others. {history}: the events that were applied to the
-- customers. {entity}: the columns that identify an entity; {entity_of_event}: their values in
-- `event`, {columns_of_event}: the same with their names.
WITH several AS MATERIALIZED (
  SELECT event.customer_id FROM {history} event WHERE event.operation <> 'deactivate'
   GROUP BY event.customer_id
  HAVING count(DISTINCT (coalesce(event.database_id, 0), event.generation)) > 1),
applied AS (
  SELECT {columns_of_event}, event.operation, coalesce(event.database_id, 0) AS place_id,
         event.database_id, event.generation, event.replication_counter, event.applied_at,
         event.based_on, event.corrects, event.staged_at,
         least(event.occurred_at, event.staged_at) AS written_at,
         -- Within a database, no event is earlier than the ones before it.
         max(least(event.occurred_at, event.staged_at)) OVER (
             PARTITION BY {entity_of_event}, event.database_id
             ORDER BY event.generation, event.replication_counter) AS at,
         database_place(event.database_id) AS place
    FROM several
   CROSS JOIN LATERAL (
         SELECT * FROM {history} of_customer
          WHERE of_customer.customer_id = several.customer_id OFFSET 0) event),
edit AS (
  SELECT *, row_number() OVER newest_first = 1 AS is_newest,
         (place_id, generation) <> (first_value(place_id) OVER newest_first,
                                    first_value(generation) OVER newest_first) AS is_of_another
    FROM applied WHERE operation <> 'deactivate'
  WINDOW newest_first AS (
         PARTITION BY {entity}
         ORDER BY at DESC, place DESC, generation DESC, replication_counter DESC)),
entity AS (
  SELECT {entity}, max(applied_at) FILTER (WHERE is_of_another) AS others_applied_at,
         max(applied_at) FILTER (WHERE is_newest) AS applied_at,
         max(written_at) FILTER (WHERE is_newest) AS written_at,
         max(staged_at) FILTER (WHERE is_newest) AS staged_at,
         max(database_id) FILTER (WHERE is_newest) AS database_id,
         max(based_on) FILTER (WHERE is_newest) AS based_on,
         max(corrects) FILTER (WHERE is_newest) AS corrects
    FROM edit GROUP BY {entity})
SELECT DISTINCT customer_id
  FROM entity
 WHERE others_applied_at IS NOT NULL
   AND (corrects IS NOT NULL OR others_applied_at >= applied_at
        OR coalesce(others_applied_at > seen_until(
               customer_id, database_id, based_on, written_at, staged_at), true))
