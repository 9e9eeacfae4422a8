-- Write down why the open events of a company wait.
--
-- Run by open_events.write_wait_reasons(). An event that a person released has no reason until it
-- is tried again.
UPDATE open_event opened SET reason = found.reason
  FROM (SELECT waiting."table", waiting.event_id,
               CASE WHEN waiting.account_number IS NOT NULL THEN 'account_unknown'
                    WHEN EXISTS (SELECT FROM open_event parent
                                  WHERE parent.company_id = waiting.company_id
                                    AND parent.async_account = waiting.async_account
                                    AND parent."table" = 'async_customer'
                                    AND parent.status = 'failed')
                      OR EXISTS (SELECT FROM quarantine
                                  WHERE quarantine.async_account = waiting.async_account
                                    AND quarantine."table" = 'async_customer'
                                    AND quarantine.status = 'open')
                    THEN 'parent_failed'
                    ELSE 'parent_missing' END AS reason
          FROM open_event waiting
         WHERE waiting.company_id = %(company)s AND waiting.status = 'waiting'
           AND waiting.released_at IS NULL) found
 WHERE opened."table" = found."table" AND opened.event_id = found.event_id
   AND opened.reason IS DISTINCT FROM found.reason
   AND (%(events)s::uuid[] IS NULL OR opened.event_id = ANY(%(events)s::uuid[]))
