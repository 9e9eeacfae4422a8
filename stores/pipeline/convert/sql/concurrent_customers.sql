-- Find customers with an entity whose newest edit does not say all that the others changed: its
-- maker did not know of another edit, or had forgotten one of the same place. One row is a customer.
--
-- Run by concurrent_edits.settle_concurrent_edits(). Most newest edits know all others. A till
-- forgets an edit of its own when it shows a version that HQ had made before it applied that edit.
--
-- {several}: the customers that several_edits.sql has found; {history}: the events that were applied
-- to customers. {entity}: the columns that identify an entity; {entity_of_event}: their values in
-- `event`, {columns_of_event}: the same with their names. {can_be_forgotten}: that an edit is not a
-- creation, which every version says.
WITH applied AS (
  SELECT {columns_of_event}, event.operation, coalesce(event.database_id, 0) AS place_id,
         event.database_id, event.generation, event.replication_counter, event.applied_at,
         event.based_on, event.corrects, event.staged_at,
         CASE WHEN event.created_offline
              THEN merged_from(event.database_id, event.terminal_id) END AS register,
         least(event.occurred_at, event.staged_at) AS written_at,
         -- Within a database, no event is earlier than the ones before it.
         max(least(event.occurred_at, event.staged_at)) OVER (
             PARTITION BY {entity_of_event}, event.database_id
             ORDER BY event.generation, event.replication_counter) AS at,
         database_place(event.database_id) AS place
    FROM {several} several
   CROSS JOIN LATERAL (
         SELECT * FROM {history} of_customer
          WHERE of_customer.customer_id = several.customer_id OFFSET 0) event),
ranked AS (
  SELECT event.*, row_number() OVER newest_first = 1 AS is_newest,
         (place_id, generation, coalesce(register, ''))
         <> (first_value(place_id) OVER newest_first, first_value(generation) OVER newest_first,
             first_value(coalesce(register, '')) OVER newest_first) AS is_of_another
    FROM applied event WHERE operation <> 'deactivate'
  WINDOW newest_first AS (
         PARTITION BY {entity}
         ORDER BY at DESC, place DESC, generation DESC, replication_counter DESC)),
edit AS (
  SELECT event.*, NOT is_newest AND NOT is_of_another AND {can_be_forgotten} AS is_earlier
    FROM ranked event),
entity AS (
  SELECT {entity}, max(applied_at) FILTER (WHERE is_of_another) AS others_applied_at,
         array_agg(based_on) FILTER (WHERE is_earlier) AS earlier_based_on,
         array_agg(written_at) FILTER (WHERE is_earlier) AS earlier_written_at,
         array_agg(staged_at) FILTER (WHERE is_earlier) AS earlier_staged_at,
         array_agg(applied_at) FILTER (WHERE is_earlier) AS earlier_applied_at,
         max(applied_at) FILTER (WHERE is_newest) AS applied_at,
         max(written_at) FILTER (WHERE is_newest) AS written_at,
         max(staged_at) FILTER (WHERE is_newest) AS staged_at,
         max(database_id) FILTER (WHERE is_newest) AS database_id,
         max(register) FILTER (WHERE is_newest) AS register,
         max(based_on) FILTER (WHERE is_newest) AS based_on,
         max(corrects) FILTER (WHERE is_newest) AS corrects
    FROM edit GROUP BY {entity}),
newest AS (
  SELECT *, CASE WHEN corrects IS NULL THEN seen_until(
             customer_id, database_id, register, based_on, written_at, staged_at) END AS seen_until
    FROM entity WHERE others_applied_at IS NOT NULL OR earlier_applied_at IS NOT NULL)
SELECT DISTINCT customer_id
  FROM newest
 WHERE others_applied_at >= applied_at
    OR coalesce(others_applied_at > seen_until, others_applied_at IS NOT NULL)
    OR EXISTS (
       SELECT FROM unnest(earlier_based_on, earlier_written_at, earlier_staged_at,
                          earlier_applied_at)
                AS earlier (based_on, written_at, staged_at, applied_at)
        WHERE coalesce(earlier.applied_at > newest.seen_until, true)
          -- A correction says a till's row, whatever people at HQ have written before.
          AND (newest.corrects IS NOT NULL
               OR seen_until(newest.customer_id, newest.database_id, newest.register,
                             earlier.based_on, earlier.written_at, earlier.staged_at)
                  IS DISTINCT FROM newest.seen_until))
