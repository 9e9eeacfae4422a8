-- Open the claimed events that cannot be applied, and take them out of {claimed}. Of the others
-- note those that go to the customer of their GUID although they name an account.
--
-- Run by known_customers.claimed_events(). {name}: the staging table, as a text. {open_failing}:
-- opens the events of `failing`; see its file.
WITH refused AS (
  DELETE FROM {claimed} WHERE reason IS NOT NULL
  RETURNING event_id, batch_id, company_id, async_account, account_number, reason),
found_by_guid AS (
  INSERT INTO settled_event ("table", event_id, batch_id, outcome, by_guid, applied_at, run_id)
  SELECT {name}, event_id, batch_id, 'applied', true, now(), %(run)s::uuid
    FROM {claimed} WHERE reason IS NULL AND by_guid
      ON CONFLICT ("table", event_id) DO UPDATE SET by_guid = true),
failing AS (
  SELECT event_id, batch_id, company_id, async_account, account_number, reason,
         CASE WHEN reason IN ('account_unknown', 'parent_missing') THEN 'waiting'
              ELSE 'failed' END AS status,
         CASE WHEN reason = 'identity_mismatch' THEN 'account_number'
              WHEN reason IN ('company_mismatch', 'guid_conflict') THEN 'async_account' END AS field
    FROM refused),
{open_failing}
