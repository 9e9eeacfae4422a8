-- List all edits of some customers, in the order of events, with what each states. One row is an
-- edit; removals state nothing.
--
-- Run by concurrent_edits.settle_concurrent_edits(). {chosen}: the customers; {history}: the events
-- that were applied to them. {entity_of_event}: what identifies the entity of `event`; {key_text}:
-- which of its customer's rows it is. {stated}: name and value of each field, as HQ keeps it.
-- {defaults}: name and value in `home`, the default customer, of each field that customers inherit.
SELECT event.customer_id, {key_text} AS key, event.event_id,
       coalesce(event.database_id, 0) AS place, event.generation, coalesce(event.register, '') AS register,
       event.replication_counter, event.operation = 'create' AS is_creation, event.applied_at,
       event.applied_at = now() AS is_new,
       CASE WHEN event.corrects IS NULL THEN seen_until(
           event.customer_id, event.database_id, event.register, event.based_on,
           least(event.occurred_at, event.staged_at), event.staged_at) END AS seen_until,
       jsonb_build_object({stated}) AS stated, home.defaults
  FROM (SELECT event.*,
               CASE WHEN event.created_offline
                    THEN merged_from(event.database_id, event.terminal_id) END AS register,
               -- Within a database, no event is earlier than the ones before it.
               max(least(event.occurred_at, event.staged_at)) OVER (
                   PARTITION BY {entity_of_event}, event.database_id
                   ORDER BY event.generation, event.replication_counter) AS at
          FROM {chosen}
         CROSS JOIN LATERAL (
               SELECT * FROM {history} of_customer
                WHERE of_customer.customer_id = {chosen}.customer_id OFFSET 0) event) event
 CROSS JOIN LATERAL (
       SELECT created_at FROM customer WHERE id = event.customer_id OFFSET 0) customer
  LEFT JOIN LATERAL (
       SELECT jsonb_build_object({defaults}) AS defaults, true AS is_of_till
         FROM guid_map guid
         LEFT JOIN channel ON channel.id = guid.channel_id
         LEFT JOIN customer home ON home.id = channel.default_customer_id
        WHERE guid.customer_id = event.customer_id AND guid.origin = 'created'
        LIMIT 1) home ON true
 WHERE event.operation <> 'deactivate'
   -- Older events say nothing of an account that was created by no till: see replay.sql.
   AND (event.at > customer.created_at OR home.is_of_till)
 ORDER BY event.customer_id, event.at, database_place(event.database_id), event.generation,
          event.replication_counter
