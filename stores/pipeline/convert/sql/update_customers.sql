-- Claimed events change the customers that they name, unless they are older than what is there.
--
-- Run by known_customers.update_customers(). Says how many events there were, and how many
-- customers they are about. {newest_events}: the WITH parts `taken` and `newest`. {new_values}:
-- each column of customer `old` from event `newest`; a deactivation keeps what is there.
WITH {newest_events},
written AS (
  UPDATE customer old
     SET {new_values}, is_active = newest.last_operation <> 'deactivate',
         event_at = newest.event_at, event_database = newest.event_database,
         event_generation = newest.event_generation, event_counter = newest.event_counter
    FROM newest
   WHERE old.id = newest.customer_id
     AND CASE WHEN old.event_database = newest.event_database
              THEN (newest.event_generation, newest.event_counter)
                 > (old.event_generation, old.event_counter)
              ELSE (newest.event_at, database_place(newest.event_database))
                 > (old.event_at, database_place(old.event_database)) END
  RETURNING old.id)
SELECT (SELECT count(*) FROM taken) AS events, (SELECT count(*) FROM newest) AS customers
