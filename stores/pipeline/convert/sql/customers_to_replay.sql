-- Claimed customers of whom a chunk has several events, or one that came too late.
--
-- Run by replay.replay_new() and replay_known(). {claimed}: the customers; {events}: where the
-- events are; {is_claimed}: that `event` belongs to customer `claimed`. {name}: the staging table,
-- as a text.
SELECT claimed.customer_id
  FROM {claimed} claimed JOIN {events} event ON {is_claimed}
  LEFT JOIN settled_event late
         ON late."table" = {name} AND late.event_id = event.event_id AND late.outcome = 'superseded'
 GROUP BY claimed.customer_id HAVING count(*) > 1 OR count(late.event_id) > 0
