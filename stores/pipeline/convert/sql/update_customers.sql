-- Write what the newest events say of customers into HQ's rows.
--
-- Run by known_customers.update_customers(). It returns one row: how many events and how many
-- customers there were. It changes nothing where the customer shows a later event.
--
-- {newest_events}: the CTEs `taken` and `newest` of _newest_events.sql. {new_values}: the
-- assignments of the columns of customer `old` from event `newest`; a deactivation changes none.
WITH {newest_events},
written AS (
  UPDATE customer old
     SET {new_values}, is_active = newest.last_operation <> 'deactivate',
         event_at = newest.event_at, event_database = newest.event_database,
         event_generation = newest.event_generation, event_counter = newest.event_counter
    FROM newest
   WHERE old.id = newest.customer_id
     AND is_later(newest.event_at, newest.event_database, newest.event_generation,
                  newest.event_counter,
                  old.event_at, old.event_database, old.event_generation, old.event_counter)
  RETURNING old.id)
SELECT (SELECT count(*) FROM taken) AS events, (SELECT count(*) FROM newest) AS customers
