-- The events of one kind that a chunk applies: those of its batches, and single ones that are due.
--
-- A part of other statements, by Chunk.events(). Left out are events that the chunk has opened,
-- because they cannot be applied, and those that were settled ahead of their batch.
--
-- {event}: the staging table; {name}: its name as a text. {due}: the single events.
SELECT event.* FROM {event} event
 WHERE event.batch_id = ANY(%(batches)s::bigint[]) AND event.erased_at IS NULL
   AND NOT EXISTS (SELECT FROM open_event opened
                    WHERE opened."table" = {name} AND opened.event_id = event.event_id)
   AND NOT EXISTS (SELECT FROM settled_event settled
                    WHERE settled."table" = {name} AND settled.event_id = event.event_id
                      AND settled.applied_at <> now())
 UNION ALL
SELECT event.* FROM {due} due JOIN {event} event ON event.event_id = due.event_id
 WHERE due."table" = {name} AND event.erased_at IS NULL
   AND NOT EXISTS (SELECT FROM open_event opened
                    WHERE opened."table" = {name} AND opened.event_id = event.event_id)
