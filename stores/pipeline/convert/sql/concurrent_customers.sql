-- Find customers with an entity whose newest edit was made without knowledge of another edit of it.
-- One row is a customer.
--
-- Run by concurrent_edits.settle_concurrent_edits(). Most customers have edits of a single
-- database, and most newest edits know all others. {customers}: the customers to look at;
-- {history}: the events that were applied to them. {entity}: the columns that identify an entity;
-- {entity_of_event}: their values in `event`, {columns_of_event}: the same with their names.
WITH several AS (
  SELECT event.customer_id FROM {history} event
   WHERE event.operation <> 'deactivate'
     AND event.customer_id IN (SELECT customer_id FROM {customers})
   GROUP BY event.customer_id
  HAVING count(DISTINCT (coalesce(event.database_id, 0), event.generation)) > 1),
edit AS MATERIALIZED (
  SELECT {columns_of_event}, event.operation, coalesce(event.database_id, 0) AS place_id,
         event.database_id, event.generation, event.replication_counter, event.applied_at,
         event.based_on, event.corrects, event.staged_at,
         least(event.occurred_at, event.staged_at) AS written_at,
         -- Within a database, no event is earlier than the ones before it.
         max(least(event.occurred_at, event.staged_at)) OVER (
             PARTITION BY {entity_of_event}, event.database_id
             ORDER BY event.generation, event.replication_counter) AS at,
         database_place(event.database_id) AS place
    FROM {history} event WHERE event.customer_id IN (SELECT customer_id FROM several)),
newest AS MATERIALIZED (
  SELECT DISTINCT ON ({entity}) {entity}, place_id, generation, applied_at,
         CASE WHEN corrects IS NULL
              THEN seen_until(customer_id, database_id, based_on, written_at, staged_at) END AS seen_until
    FROM edit WHERE operation <> 'deactivate'
   ORDER BY {entity}, at DESC, place DESC, generation DESC, replication_counter DESC)
SELECT DISTINCT newest.customer_id
  FROM newest JOIN edit other USING ({entity})
 WHERE other.operation <> 'deactivate'
   AND (other.place_id, other.generation) <> (newest.place_id, newest.generation)
   AND (newest.seen_until IS NULL OR other.applied_at > newest.seen_until
        OR other.applied_at >= newest.applied_at)
