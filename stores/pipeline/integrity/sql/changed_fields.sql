-- Changed rows: one row for each row of some customers that differs from the event that it shows.
--
-- For check I16. {looked_at}: the customers. {table_name}, {table}: the table of the rows. {owner}:
-- its column with the customer. {history}: what was applied of these customers. {differing}: for
-- each column of `row` its name, if it differs from what `event` and the others that were merged
-- with it say, else NULL.
SELECT account_number, "table", columns
  -- OFFSET 0, because all columns would be planned twice otherwise.
  FROM (SELECT customer.account_number, {table_name} AS "table",
               array_to_string(ARRAY[{differing}], ' ') AS columns
          FROM {looked_at} checked
          JOIN customer ON customer.id = checked.customer_id
          JOIN {table} row ON row.{owner} = checked.customer_id
          JOIN {history} event ON event.customer_id = checked.customer_id
               AND coalesce(event.database_id, 0) = coalesce(row.event_database, 0)
               AND event.generation = row.event_generation
               AND event.replication_counter = row.event_counter
         WHERE event.operation <> 'deactivate' OFFSET 0) compared
 WHERE columns <> ''
