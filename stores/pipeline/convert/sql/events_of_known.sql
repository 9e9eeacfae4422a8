-- Find pending events of one kind whose customer HQ knows. One row is an event.
--
-- Run by convert.events_of_known(). {view}: the events with their state. They are in batches that
-- were not converted, or they are open events that wait.
SELECT event.event_id
  FROM (SELECT event.*
          FROM upload_batch batch JOIN {view} event ON event.batch_id = batch.id
         WHERE batch.company_id = %(company)s AND batch.converted_at IS NULL
        UNION ALL
        SELECT event.*
          FROM open_event opened JOIN {view} event ON event.event_id = opened.event_id
         WHERE opened.company_id = %(company)s AND opened.status = 'waiting'
           AND opened.batch_id NOT IN (SELECT id FROM upload_batch
                                        WHERE converted_at IS NULL)) event
 WHERE event.status = 'pending' AND event.customer_id IS NOT NULL
   AND event.event_id <> ALL(%(skipped)s::uuid[])
 LIMIT %(limit)s
