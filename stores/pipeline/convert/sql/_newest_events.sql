-- The claimed events, and of each entity the one that counts.
--
-- The statements that write what comes of them begin with this. An entity is a customer, or one of
-- its addresses, contacts, and so on: {entity} names one.
--
-- `newest` has one row an entity. Its columns are those of the newest event that is no
-- deactivation; last_… tell of the newest event of all. Most entities have one event, and nothing
-- is to be sorted for them.
--
-- {events}: where the events are; {is_claimed}: that event t belongs to claimed customer c.
-- {columns}: those of the event, as HQ keeps them.
taken AS (
  SELECT c.customer_id, c.hq_version, t.async_account, t.operation,
         coalesce(t.database_id, 0) AS database_id, t.generation, t.replication_counter,
         coalesce(t.database_id, t.for_database_id) AS home_database_id,
         least(t.occurred_at, t.staged_at) AS seen_at, {columns}
    FROM {claimed} c JOIN {events} t ON {is_claimed}),
several AS (
  SELECT {entity} FROM taken GROUP BY {entity} HAVING count(*) > 1),
dated AS (
  SELECT t.*, max(seen_at) OVER (PARTITION BY {entity}, database_id
                                 ORDER BY generation, replication_counter) AS at
    FROM taken t WHERE EXISTS (SELECT FROM several v WHERE {same_entity})),
ranked AS (
  SELECT *, first_value(operation) OVER newest_first AS last_operation,
         first_value(at) OVER newest_first AS last_at,
         first_value(database_id) OVER newest_first AS last_database,
         first_value(generation) OVER newest_first AS last_generation,
         first_value(replication_counter) OVER newest_first AS last_counter
    FROM dated
  WINDOW newest_first AS (
         PARTITION BY {entity}
         ORDER BY at DESC, database_id DESC, generation DESC, replication_counter DESC)),
newest AS (
  SELECT t.*, seen_at AS at, operation AS last_operation, seen_at AS last_at,
         database_id AS last_database, generation AS last_generation,
         replication_counter AS last_counter
    FROM taken t WHERE NOT EXISTS (SELECT FROM several v WHERE {same_entity})
  UNION ALL (
  SELECT DISTINCT ON ({entity}) * FROM ranked
   ORDER BY {entity}, operation = 'deactivate',
            at DESC, database_id DESC, generation DESC, replication_counter DESC))
