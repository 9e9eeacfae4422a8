-- Take open events that can be tried again; until they fail once more they count as applied.
--
-- {is_due}: that open event o is due. {due}: where they go, with their attempts so far.
WITH found AS (
  SELECT o."table", o.event_id FROM open_event o
   WHERE o.company_id = %(company)s AND o.event_id <> ALL(%(passed)s::uuid[]) AND ({is_due})
   LIMIT %(limit)s),
taken AS (
  DELETE FROM open_event o USING found c
   WHERE o."table" = c."table" AND o.event_id = c.event_id
  RETURNING o."table", o.event_id, o.batch_id, o.attempts),
settled AS (
  INSERT INTO settled_event ("table", event_id, batch_id, outcome, applied_at, run_id)
  SELECT "table", event_id, batch_id, 'applied', now(), %(run)s::uuid FROM taken)
INSERT INTO {due} SELECT "table", event_id, attempts FROM taken
