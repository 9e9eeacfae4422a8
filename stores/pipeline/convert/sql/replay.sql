-- Write rows anew as all their events say, in the order of the events.
--
-- Those of customers of whom several events met, or one came too late. Which are primary stays.
--
-- {history}: what was applied of these customers. {entity}: the customer, and which of its
-- addresses, contacts, and so on; {entity_of_event}: the same of event t. {columns_of_event}: what
-- names the entity, and the columns, as HQ keeps them. {last_values}: what names the entity, and
-- each column as it was said last. {new_values}: each column of {columns} as it should be, from w
-- or, where no event said it, from row r, whose values are {held_values}.
WITH mine AS (
  SELECT t.customer_id, t.operation, coalesce(t.database_id, 0) AS database_id, t.generation,
         t.replication_counter, database_place(t.database_id) AS place,
         max(least(t.occurred_at, t.staged_at)) OVER (
             PARTITION BY {entity_of_event}, t.database_id
             ORDER BY t.generation, t.replication_counter) AS at,
         {columns_of_event}
    FROM {history} t WHERE t.customer_id IN (SELECT customer_id FROM {again})),
-- An account that no till made begins with what it was made with: what is older says nothing of it.
stated AS (
  SELECT m.*, m.operation <> 'deactivate' AS has_values,
         row_number() OVER (PARTITION BY {entity}
                            ORDER BY m.at, m.place, m.generation, m.replication_counter) AS turn
    FROM mine m JOIN customer k ON k.id = m.customer_id
   WHERE m.at > k.created_at
      OR EXISTS (SELECT FROM guid_map g WHERE g.customer_id = k.id AND g.origin = 'created')),
whole AS (
  SELECT {last_values}, coalesce(bool_or(has_values), false) AS has_values,
         (array_agg(operation ORDER BY turn DESC))[1] <> 'deactivate' AS is_active,
         (array_agg(at ORDER BY turn DESC))[1] AS event_at,
         (array_agg(database_id ORDER BY turn DESC))[1] AS event_database,
         (array_agg(generation ORDER BY turn DESC))[1] AS event_generation,
         (array_agg(replication_counter ORDER BY turn DESC))[1] AS event_counter
    FROM stated GROUP BY {entity})
UPDATE {table} r
   SET ({columns}, event_at, event_database, event_generation, event_counter)
     = ROW ({new_values}, w.event_at, w.event_database, w.event_generation, w.event_counter),
       -- A channel takes a row again only in a higher version; the customer's is raised already.
       hq_version = (SELECT k.hq_version FROM customer k WHERE k.id = w.customer_id)
  FROM whole w
 WHERE {same_entity} AND r.event_counter IS NOT NULL
   AND ({held_values}, r.event_at, r.event_database, r.event_generation, r.event_counter)
       IS DISTINCT FROM
       ({new_values}, w.event_at, w.event_database, w.event_generation, w.event_counter)
