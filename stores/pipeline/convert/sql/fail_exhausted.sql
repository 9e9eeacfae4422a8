-- Fail the events of the claimed GUIDs for which no number is left.
WITH too_many AS (
  SELECT async_account FROM {claimed} ORDER BY 1 OFFSET %(left)s),
failing AS (
  SELECT s.event_id, s.batch_id, s.company_id, s.async_account, s.account_number,
         'failed' AS status, %(reason)s AS reason, NULL AS field
    FROM ({events}) s
   WHERE s.account_number IS NULL AND s.async_account IN (SELECT async_account FROM too_many)),
{open_failing}
