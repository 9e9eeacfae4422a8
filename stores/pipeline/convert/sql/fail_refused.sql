-- Fail events of which the database refuses what comes of them.
WITH failing AS (
  SELECT t.event_id, t.batch_id, t.company_id, t.async_account, t.account_number,
         'failed' AS status, 'refused' AS reason, NULL AS field
    FROM {event} t WHERE t.event_id = ANY(%(events)s::uuid[])),
{open_failing}
