-- Rows of some customers that differ from the event that they show, and the differing columns.
--
-- {held}: the columns of row r. {expected}: the values that they must have by event t. {differing}:
-- the name of each differing column.
SELECT customer.account_number, {name} AS "table",
       array_to_string(ARRAY[{differing}], ' ') AS columns
  FROM {looked_at} checked
  JOIN customer ON customer.id = checked.customer_id
  JOIN {table} r ON r.{owner} = checked.customer_id
  JOIN {event} t ON t.customer_id = checked.customer_id
       AND coalesce(t.database_id, 0) = coalesce(r.event_database, 0)
       AND t.generation = r.event_generation AND t.replication_counter = r.event_counter
 WHERE t.operation <> 'deactivate' AND ({held}) IS DISTINCT FROM ({expected})
