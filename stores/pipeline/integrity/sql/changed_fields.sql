-- Rows of some customers that differ from the event that they show, with the columns that do.
--
-- {held}: the columns of row r; {expected}: what they must hold, from event t; {differing}: the
-- name of each column in which they differ.
SELECT k.account_number, {name} AS "table", array_to_string(ARRAY[{differing}], ' ') AS columns
  FROM {looked_at} l JOIN customer k ON k.id = l.customer_id
  JOIN {table} r ON r.{owner} = l.customer_id
  JOIN {event} t ON t.customer_id = l.customer_id
       AND coalesce(t.database_id, 0) = coalesce(r.event_database, 0)
       AND t.generation = r.event_generation AND t.replication_counter = r.event_counter
 WHERE t.operation <> 'deactivate' AND ({held}) IS DISTINCT FROM ({expected})
