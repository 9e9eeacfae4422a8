-- Take up the open events that are due: they count as applied, until they fail once more.
--
-- Run by open_events.take_due() and take_waiting_for(). {due_events}: the query of due_events.sql.
-- {due}: the work table that the events are put in, with their attempts so far.
WITH due AS ({due_events}),
taken AS (
  DELETE FROM open_event opened USING due
   WHERE opened."table" = due."table" AND opened.event_id = due.event_id
  RETURNING opened."table", opened.event_id, opened.batch_id, opened.attempts),
settled AS (
  INSERT INTO settled_event ("table", event_id, batch_id, outcome, applied_at, run_id)
  SELECT "table", event_id, batch_id, 'applied', now(), %(run)s::uuid FROM taken)
INSERT INTO {due} ("table", event_id, attempts) SELECT "table", event_id, attempts FROM taken
