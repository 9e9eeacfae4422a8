-- Open the events of `failing`, which cannot be applied. Says how many failed, and how many were
-- opened: the others wait.
--
-- The end of open_claimed, fail_exhausted, fail_refused and settle_unapplied. `failing` has the
-- columns of open_event but for the attempts. {name}: the staging table, as a text. {due}: the
-- chunk's single events, with their attempts so far.
opened AS (
  INSERT INTO open_event ("table", event_id, batch_id, company_id, async_account, account_number,
                          status, reason, field, attempts)
  SELECT {name}, failing.event_id, failing.batch_id, failing.company_id, failing.async_account,
         failing.account_number, failing.status, failing.reason, failing.field,
         1 + coalesce(due.attempts, 0)
    FROM failing
    LEFT JOIN {due} due ON due."table" = {name} AND due.event_id = failing.event_id
  RETURNING status),
unsettled AS (
  DELETE FROM settled_event settled USING failing
   WHERE settled."table" = {name} AND settled.event_id = failing.event_id)
SELECT count(*) FILTER (WHERE status = 'failed') AS failed, count(*) AS opened FROM opened
