-- Compare each row of some customers with the events that could have written it: insert one row for
-- each of them.
--
-- Run by customers.shown_rows(), for checks I10, I33 and I34. Within a database the event with the
-- higher counter is later, between databases the one with the later time; an event counts as no
-- later than its arrival. Events of HQ are those of database 0.
--   has_event: the event that the row shows is there.
--   is_outdated: the database of this event has a later one.
--   is_overtaken: the last event of another database is later than all of this database.
--   is_ahead: the row's time is later than the arrival of all events.
--
-- {shown}: the work table of the findings. {looked_at}: the customers. {table_name}, {table}: the
-- table of the rows. {owner}: its column with the customer. {history}: what was applied of these
-- customers. {key_text}: the key of `row` as one text. {is_about_row}: that `event` is about `row`.
INSERT INTO {shown} ("table", customer_id, key, has_event, is_outdated, is_overtaken, is_ahead)
WITH candidate AS (
  SELECT checked.customer_id, {key_text} AS key, row.event_at,
         event.staged_at, least(event.occurred_at, event.staged_at) AS at,
         coalesce(event.database_id, 0) = coalesce(row.event_database, 0) AS is_of_shown_database,
         (event.generation, event.replication_counter)
           = (row.event_generation, row.event_counter) AS is_shown,
         (event.generation, event.replication_counter)
           > (row.event_generation, row.event_counter) AS is_newer,
         row_number() OVER (PARTITION BY checked.customer_id, {key_text}, event.database_id
                            ORDER BY event.generation DESC, event.replication_counter DESC) = 1
           AS is_last_of_database
    FROM {looked_at} checked
    JOIN {table} row ON row.{owner} = checked.customer_id
    LEFT JOIN {history} event ON event.customer_id = checked.customer_id AND {is_about_row}
   -- No event has written a row without a counter.
   WHERE row.event_counter IS NOT NULL)
SELECT {table_name}, customer_id, key,
       coalesce(bool_or(is_of_shown_database AND is_shown), false) AS has_event,
       coalesce(bool_or(is_of_shown_database AND is_newer), false) AS is_outdated,
       coalesce(max(at) FILTER (WHERE is_last_of_database AND NOT is_of_shown_database)
              > max(at) FILTER (WHERE is_of_shown_database), false) AS is_overtaken,
       coalesce(event_at > max(staged_at), false) AS is_ahead
  FROM candidate
 GROUP BY customer_id, key, event_at
