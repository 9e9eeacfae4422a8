-- Write rows anew as all events of their customers say, in the order of the events.
--
-- Run by replay.replay(). No row is made primary here. {again}: the customers; {history}: the
-- events that were applied to them. {table}: HQ's rows.
--
-- {entity}: the columns that identify an entity; {entity_of_event}: their values in `event`;
-- {same_entity}: that `row` is the row of `entity`. {columns_of_event}: key and columns of `event`,
-- as HQ keeps them. {last_values}: {entity}, and the last value of each column. {columns}: those
-- that are written; {new_values}: their values, of `entity` or, where no event states one, of
-- `row`; {held_values}: their present values in `row`. {kept_primary}: the assignment of is_primary.
WITH applied AS (
  SELECT event.customer_id, event.operation, coalesce(event.database_id, 0) AS database_id,
         event.generation, event.replication_counter, database_place(event.database_id) AS place,
         -- Within a database, no event is earlier than the ones before it.
         max(least(event.occurred_at, event.staged_at)) OVER (
             PARTITION BY {entity_of_event}, event.database_id
             ORDER BY event.generation, event.replication_counter) AS at,
         {columns_of_event}
    FROM {history} event WHERE event.customer_id IN (SELECT customer_id FROM {again})),
-- Older events say nothing of an account that was created by no till: it began with other values.
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
       {kept_primary}
  FROM entity
 WHERE {same_entity} AND row.event_counter IS NOT NULL
   AND ({held_values}, row.event_at, row.event_database, row.event_generation, row.event_counter)
       IS DISTINCT FROM
       ({new_values}, entity.event_at, entity.event_database, entity.event_generation,
        entity.event_counter)
