-- Take up those of the given events that are pending, ahead of their batch.
--
-- Run by open_events.take_events(). They count as applied, until they fail. {event}: the staging
-- table; {name}: its name, as a text. {due}: the work table that the events are put in, with their
-- attempts so far.
WITH pending AS (
  SELECT event.event_id, event.batch_id
    FROM {event} event
    JOIN upload_batch batch ON batch.id = event.batch_id
    LEFT JOIN open_event tried ON tried."table" = {name} AND tried.event_id = event.event_id
   WHERE event.event_id = ANY(%(events)s::uuid[]) AND event.company_id = %(company)s
     AND event.erased_at IS NULL
     AND NOT EXISTS (SELECT FROM settled_event settled
                      WHERE settled."table" = {name} AND settled.event_id = event.event_id)
     -- It was not tried, and its batch not converted; or it waits, or failed for want of a number.
     AND CASE WHEN tried.event_id IS NULL THEN batch.converted_at IS NULL
              ELSE tried.status = 'waiting'
                   OR tried.reason IN ('sequence_exhausted', 'sequence_missing') END),
taken AS (
  DELETE FROM open_event tried USING pending
   WHERE tried."table" = {name} AND tried.event_id = pending.event_id
  RETURNING tried.event_id, tried.attempts),
settled AS (
  INSERT INTO settled_event ("table", event_id, batch_id, outcome, applied_at, run_id)
  SELECT {name}, event_id, batch_id, 'applied', now(), %(run)s::uuid FROM pending)
INSERT INTO {due} ("table", event_id, attempts)
SELECT {name}, event_id, coalesce(taken.attempts, 0)
  FROM pending LEFT JOIN taken USING (event_id)
