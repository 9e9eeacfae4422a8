-- Write rows anew as all their events say, in the order of the events.
--
-- Run by replay.replay(), for customers {again}, of whom several events met, or one came too late.
-- Which rows are primary stays.
--
-- {table}: the rows of the kind. {history}: what was applied of these customers. {entity}: the
-- customer, and which of its addresses, contacts, and so on; {entity_of_event}: the same of
-- `event`; {same_entity}: that `entity` is that of `row`. {columns_of_event}: what names the
-- entity, and the columns, as HQ keeps them. {last_values}: what names the entity, and each column
-- as it was said last. {columns}: what is written: {new_values}, from `entity` or, where no event
-- said it, from `row`, whose values are {held_values}.
WITH applied AS (
  SELECT event.customer_id, event.operation, coalesce(event.database_id, 0) AS database_id,
         event.generation, event.replication_counter, database_place(event.database_id) AS place,
         max(least(event.occurred_at, event.staged_at)) OVER (
             PARTITION BY {entity_of_event}, event.database_id
             ORDER BY event.generation, event.replication_counter) AS at,
         {columns_of_event}
    FROM {history} event WHERE event.customer_id IN (SELECT customer_id FROM {again})),
-- An account that no till made begins with what it was made with: what is older says nothing of it.
stated AS (
  SELECT applied.*, applied.operation <> 'deactivate' AS has_values,
         row_number() OVER (
             PARTITION BY {entity}
             ORDER BY applied.at, applied.place, applied.generation, applied.replication_counter)
         AS turn
    FROM applied JOIN customer ON customer.id = applied.customer_id
   WHERE applied.at > customer.created_at
      OR EXISTS (SELECT FROM guid_map guid
                  WHERE guid.customer_id = customer.id AND guid.origin = 'created')),
entity AS (
  SELECT {last_values}, coalesce(bool_or(has_values), false) AS has_values,
         (array_agg(operation ORDER BY turn DESC))[1] <> 'deactivate' AS is_active,
         (array_agg(at ORDER BY turn DESC))[1] AS event_at,
         (array_agg(database_id ORDER BY turn DESC))[1] AS event_database,
         (array_agg(generation ORDER BY turn DESC))[1] AS event_generation,
         (array_agg(replication_counter ORDER BY turn DESC))[1] AS event_counter
    FROM stated GROUP BY {entity})
UPDATE {table} row
   SET ({columns}, event_at, event_database, event_generation, event_counter)
     = ROW ({new_values}, entity.event_at, entity.event_database, entity.event_generation,
            entity.event_counter),
       -- A channel takes a row again only in a higher version; the customer's is raised already.
       hq_version = (SELECT hq_version FROM customer WHERE customer.id = entity.customer_id)
  FROM entity
 WHERE {same_entity} AND row.event_counter IS NOT NULL
   AND ({held_values}, row.event_at, row.event_database, row.event_generation, row.event_counter)
       IS DISTINCT FROM
       ({new_values}, entity.event_at, entity.event_database, entity.event_generation,
        entity.event_counter)
