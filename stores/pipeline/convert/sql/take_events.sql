-- Take single events of one kind ahead of their batch, of some that are given those that are
-- pending.
--
-- Until they fail they count as applied. {due}: where they go, with their attempts so far.
WITH pending AS (
  SELECT t.event_id, t.batch_id
    FROM {event} t
    JOIN upload_batch b ON b.id = t.batch_id
    LEFT JOIN open_event o ON o."table" = {name} AND o.event_id = t.event_id
   WHERE t.event_id = ANY(%(events)s::uuid[]) AND t.company_id = %(company)s
     AND t.erased_at IS NULL
     AND NOT EXISTS (SELECT FROM settled_event s
                      WHERE s."table" = {name} AND s.event_id = t.event_id)
     AND CASE WHEN o.event_id IS NULL THEN b.converted_at IS NULL
              ELSE o.status = 'waiting'
                   OR o.reason IN ('sequence_exhausted', 'sequence_missing') END),
taken AS (
  DELETE FROM open_event o USING pending c
   WHERE o."table" = {name} AND o.event_id = c.event_id
  RETURNING o.event_id, o.attempts),
settled AS (
  INSERT INTO settled_event ("table", event_id, batch_id, outcome, applied_at, run_id)
  SELECT {name}, event_id, batch_id, 'applied', now(), %(run)s::uuid FROM pending)
INSERT INTO {due} SELECT {name}, event_id, coalesce(taken.attempts, 0)
  FROM pending LEFT JOIN taken USING (event_id)
