-- CTEs that open the events of `failing`: `opened` has the status of each.
--
-- A part of open_claimed, fail_exhausted, fail_refused and settle_unapplied. `failing` has the
-- columns of open_event without the attempts. {name}: the staging table, as a text. {due}: the
-- single events of the chunk, with their earlier attempts.
opened AS (
  INSERT INTO open_event ("table", event_id, batch_id, company_id, async_account, account_number,
                          status, reason, field, attempts)
  SELECT {name}, failing.event_id, failing.batch_id, failing.company_id, failing.async_account,
         failing.account_number, failing.status, failing.reason, failing.field,
         1 + coalesce(due.attempts, 0)
    FROM failing
    LEFT JOIN {due} due ON due."table" = {name} AND due.event_id = failing.event_id
  RETURNING status),
-- Single events were recorded as applied when they were taken up.
unsettled AS (
  DELETE FROM settled_event settled USING failing
   WHERE settled."table" = {name} AND settled.event_id = failing.event_id)
