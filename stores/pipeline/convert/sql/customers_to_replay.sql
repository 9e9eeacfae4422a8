-- Find the claimed customers with several events in a chunk, or with one that came too late. One
-- row is a customer.
--
-- Run by replay.replay_new() and replay_known(). {claimed}: the work table of customers or of
-- events with their customers; {events}: the table or query of the events; {is_claimed}: that
-- `event` belongs to the customer of `claimed`. {name}: the staging table, as a text.
SELECT claimed.customer_id
  FROM {claimed} claimed JOIN {events} event ON {is_claimed}
  LEFT JOIN settled_event late
         ON late."table" = {name} AND late.event_id = event.event_id AND late.outcome = 'superseded'
 GROUP BY claimed.customer_id HAVING count(*) > 1 OR count(late.event_id) > 0
