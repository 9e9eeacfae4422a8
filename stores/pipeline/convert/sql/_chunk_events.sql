-- The events of one kind that a chunk applies: those of its batches, and its single events.
--
-- A part of other statements, by Chunk.events(): a query with one row for each event, as staged.
-- {event}: the staging table; {name}: its name, as a text. {due}: the single events.
SELECT event.* FROM {event} event
 WHERE event.batch_id = ANY(%(batches)s::bigint[]) AND event.erased_at IS NULL
   -- It cannot be applied.
   AND NOT EXISTS (SELECT FROM open_event opened
                    WHERE opened."table" = {name} AND opened.event_id = event.event_id)
   -- It was applied ahead of its batch, by an earlier transaction.
   AND NOT EXISTS (SELECT FROM settled_event settled
                    WHERE settled."table" = {name} AND settled.event_id = event.event_id
                      AND settled.applied_at <> now())
 UNION ALL
SELECT event.* FROM {due} due JOIN {event} event ON event.event_id = due.event_id
 WHERE due."table" = {name} AND event.erased_at IS NULL
   AND NOT EXISTS (SELECT FROM open_event opened
                    WHERE opened."table" = {name} AND opened.event_id = event.event_id)
