-- The end of a statement that opens the events of its part `failing`: those that cannot be applied.
--
-- Says how many failed, and how many were opened. {name}: the events' table; {due}: the single
-- events of the chunk, with their attempts so far.
opened AS (
  INSERT INTO open_event ("table", event_id, batch_id, company_id, async_account, account_number,
                          status, reason, field, attempts)
  SELECT {name}, f.event_id, f.batch_id, f.company_id, f.async_account, f.account_number,
         f.status, f.reason, f.field, 1 + coalesce(d.attempts, 0)
    FROM failing f LEFT JOIN {due} d ON d."table" = {name} AND d.event_id = f.event_id
  RETURNING status),
unsettled AS (
  DELETE FROM settled_event s USING failing f
   WHERE s."table" = {name} AND s.event_id = f.event_id)
SELECT count(*) FILTER (WHERE status = 'failed'), count(*) FROM opened
