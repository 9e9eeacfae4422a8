-- Write the reason on the open events of a company that wait.
--
-- What was released has none until it is tried again.
UPDATE open_event o SET reason = why.reason
  FROM (SELECT w."table", w.event_id,
               CASE WHEN w.account_number IS NOT NULL THEN 'account_unknown'
                    WHEN EXISTS (SELECT FROM open_event p
                                  WHERE p.company_id = w.company_id
                                    AND p.async_account = w.async_account
                                    AND p."table" = 'async_customer' AND p.status = 'failed')
                      OR EXISTS (SELECT FROM quarantine q
                                  WHERE q.async_account = w.async_account
                                    AND q."table" = 'async_customer' AND q.status = 'open')
                    THEN 'parent_failed'
                    ELSE 'parent_missing' END AS reason
          FROM open_event w
         WHERE w.company_id = %(company)s AND w.status = 'waiting' AND w.released_at IS NULL) why
 WHERE o."table" = why."table" AND o.event_id = why.event_id
   AND o.reason IS DISTINCT FROM why.reason
   AND (%(events)s::uuid[] IS NULL OR o.event_id = ANY(%(events)s::uuid[]))
