-- The claimed events, and of each entity the one that counts: WITH parts `taken` and `newest`.
--
-- The beginning of create_customers, update_customers, merge_addresses and merge_attributes. An
-- entity is a customer, or one of its addresses, contacts, and so on: {entity} names one.
--
-- `newest` has one row an entity. Its columns are those of the newest event that is no
-- deactivation, and event_at, event_database, event_generation and event_counter are those of the
-- newest event of all, with last_operation. Most entities have one event, and nothing is sorted for
-- them; {same_entity}: that `event` is about an entity with `several`.
--
-- {claimed}: the customers; {events}: where the events are; {is_claimed}: that `event` belongs to
-- customer `claimed`. {columns}: those of the kind in `event`, as HQ keeps them.
taken AS (
  SELECT claimed.customer_id, claimed.hq_version, event.async_account, event.operation,
         coalesce(event.database_id, 0) AS database_id, event.generation,
         event.replication_counter,
         coalesce(event.database_id, event.for_database_id) AS home_database_id,
         least(event.occurred_at, event.staged_at) AS seen_at, {columns}
    FROM {claimed} claimed JOIN {events} event ON {is_claimed}),
several AS (
  SELECT {entity} FROM taken GROUP BY {entity} HAVING count(*) > 1),
dated AS (
  SELECT event.*, max(seen_at) OVER (PARTITION BY {entity}, database_id
                                     ORDER BY generation, replication_counter) AS at
    FROM taken event WHERE EXISTS (SELECT FROM several WHERE {same_entity})),
ranked AS (
  SELECT *, first_value(operation) OVER newest_first AS last_operation,
         first_value(at) OVER newest_first AS event_at,
         first_value(database_id) OVER newest_first AS event_database,
         first_value(generation) OVER newest_first AS event_generation,
         first_value(replication_counter) OVER newest_first AS event_counter
    FROM dated
  WINDOW newest_first AS (
         PARTITION BY {entity}
         ORDER BY at DESC, database_id DESC, generation DESC, replication_counter DESC)),
newest AS (
  SELECT event.*, seen_at AS at, operation AS last_operation, seen_at AS event_at,
         database_id AS event_database, generation AS event_generation,
         replication_counter AS event_counter
    FROM taken event WHERE NOT EXISTS (SELECT FROM several WHERE {same_entity})
  UNION ALL (
  SELECT DISTINCT ON ({entity}) * FROM ranked
   ORDER BY {entity}, operation = 'deactivate',
            at DESC, database_id DESC, generation DESC, replication_counter DESC))
