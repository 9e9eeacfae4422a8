-- Open the claimed events that cannot be applied, and delete them from {claimed}.
--
-- Run by known_customers.claimed_events(). It returns one row: how many events failed, and how many
-- were opened in all. Of the events that can be applied, it also records those that name an account
-- unknown to HQ and go to the customer of their GUID.
--
-- {name}: the staging table, as a text. {opened_events}: the CTEs of _opened_events.sql.
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
{opened_events}
SELECT count(*) FILTER (WHERE status = 'failed') AS failed, count(*) AS opened FROM opened
