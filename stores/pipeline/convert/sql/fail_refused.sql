-- Fail the given events, because the database refuses their effect.
--
-- Run by open_events.fail_refused(). {event}: the staging table. {opened_events}: the CTEs of
-- _opened_events.sql.
WITH failing AS (
  SELECT event.event_id, event.batch_id, event.company_id, event.async_account,
         event.account_number, 'failed' AS status, 'refused' AS reason, NULL AS field
    FROM {event} event WHERE event.event_id = ANY(%(events)s::uuid[])),
{opened_events}
SELECT count(*) FROM opened
