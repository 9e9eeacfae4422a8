-- CTEs: `taken` are the claimed events, and `newest` has one row for each entity that they are
-- about (a customer, or one of its addresses, contacts, affiliations or attributes).
--
-- A part of create_customers, update_customers, merge_addresses and merge_attributes. In `newest`,
-- the columns of the kind come from the newest event that is no deactivation. last_operation,
-- event_at, event_database, event_generation and event_counter come from the newest event of all.
-- Most entities have a single event, which needs no sorting.
--
-- {claimed}: the work table of customers or of events with their customers; {events}: the table or
-- query of the events; {is_claimed}: that `event` belongs to the customer of `claimed`. {columns}:
-- those of the kind in `event`, as HQ keeps them. {entity}: the columns that identify an entity;
-- {same_entity}: that `event` and `several` are about the same one.
taken AS (
  SELECT claimed.customer_id, claimed.hq_version, event.async_account, event.operation,
         coalesce(event.database_id, 0) AS database_id, event.generation,
         event.replication_counter,
         coalesce(event.database_id, event.for_database_id) AS home_database_id,
         least(event.occurred_at, event.staged_at) AS seen_at, {columns}
    FROM {claimed} claimed JOIN {events} event ON {is_claimed}),
several AS (
  SELECT {entity} FROM taken GROUP BY {entity} HAVING count(*) > 1),
-- Within a database, no event is earlier than the ones before it.
dated AS (
  SELECT event.*, max(seen_at) OVER (PARTITION BY {entity}, database_id
                                     ORDER BY generation, replication_counter) AS at
    FROM taken event WHERE EXISTS (SELECT FROM several WHERE {same_entity})),
ranked_event AS (
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
  SELECT DISTINCT ON ({entity}) * FROM ranked_event
   ORDER BY {entity}, operation = 'deactivate',
            at DESC, database_id DESC, generation DESC, replication_counter DESC))
