-- Fail the events of the GUIDs for which no account number is left: all but the first `left` GUIDs.
--
-- Run by accounts.drop_exhausted(), which then drops the same GUIDs from {claimed}. {events}: the
-- events of the chunk. {opened_events}: the CTEs of _opened_events.sql.
WITH without_number AS (
  SELECT async_account FROM {claimed} ORDER BY async_account OFFSET %(left)s),
failing AS (
  SELECT event.event_id, event.batch_id, event.company_id, event.async_account,
         event.account_number, 'failed' AS status, %(reason)s AS reason, NULL AS field
    FROM ({events}) event
   WHERE event.account_number IS NULL
     AND event.async_account IN (SELECT async_account FROM without_number)),
{opened_events}
SELECT count(*) FROM opened
