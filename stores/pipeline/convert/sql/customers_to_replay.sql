-- Claimed customers of whom a chunk has several events, or one that came too late.
--
-- {events}: where the events are; {is_claimed}: that event t belongs to claimed customer c.
SELECT c.customer_id
  FROM {claimed} c JOIN {events} t ON {is_claimed}
  LEFT JOIN settled_event s
         ON s."table" = {name} AND s.event_id = t.event_id AND s.outcome = 'superseded'
 GROUP BY 1 HAVING count(*) > 1 OR count(s.event_id) > 0
