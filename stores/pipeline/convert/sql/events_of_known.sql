-- Some pending events of one kind whose customer HQ knows: of batches, and open ones.
--
-- {view}: the events with their state.
SELECT s.event_id
  FROM (SELECT t.* FROM upload_batch b JOIN {view} t ON t.batch_id = b.id
         WHERE b.company_id = %(company)s AND b.converted_at IS NULL
        UNION ALL
        SELECT t.* FROM open_event o JOIN {view} t ON t.event_id = o.event_id
         WHERE o.company_id = %(company)s AND o.status = 'waiting'
           AND o.batch_id NOT IN (SELECT id FROM upload_batch WHERE converted_at IS NULL)) s
 WHERE s.status = 'pending' AND s.customer_id IS NOT NULL
   AND s.event_id <> ALL(%(passed)s::uuid[])
 LIMIT %(limit)s
