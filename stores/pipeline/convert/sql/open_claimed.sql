-- Open the claimed events that cannot be applied, and claim them no more.
WITH refused AS (
  DELETE FROM {claimed} WHERE reason IS NOT NULL
  RETURNING event_id, batch_id, company_id, async_account, account_number, reason),
failing AS (
  SELECT event_id, batch_id, company_id, async_account, account_number, reason,
         CASE WHEN reason IN ('account_unknown', 'parent_missing') THEN 'waiting'
              ELSE 'failed' END AS status,
         CASE WHEN reason = 'identity_mismatch' THEN 'account_number'
              WHEN reason IN ('company_mismatch', 'guid_conflict') THEN 'async_account' END AS field
    FROM refused),
{open_failing}
