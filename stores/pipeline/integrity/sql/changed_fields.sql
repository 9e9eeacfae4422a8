-- Rows of some customers that differ from the event that they show, and the differing columns.
--
-- For check I16. {looked_at}: the customers. {table_name}, {table}: the table of the rows. {owner}:
-- its column with the customer. {history}: what was applied of these customers. {columns}: those of
-- `row`. {expected}: the values that they must have by `event`. {differing}: the name of each
-- differing column.
SELECT customer.account_number, {table_name} AS "table",
       array_to_string(ARRAY[{differing}], ' ') AS columns
  FROM {looked_at} checked
  JOIN customer ON customer.id = checked.customer_id
  JOIN {table} row ON row.{owner} = checked.customer_id
  JOIN {history} event ON event.customer_id = checked.customer_id
       AND coalesce(event.database_id, 0) = coalesce(row.event_database, 0)
       AND event.generation = row.event_generation
       AND event.replication_counter = row.event_counter
 WHERE event.operation <> 'deactivate' AND ({columns}) IS DISTINCT FROM ({expected})
