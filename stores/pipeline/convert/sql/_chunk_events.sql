-- The events of one kind that a chunk applies: those of its batches, and single ones that are due.
--
-- Left out is what the chunk has opened, because it cannot be applied, and what was settled ahead
-- of its batch. {event}: the table, {name}: as a text. {due}: the single events.
SELECT t.* FROM {event} t
 WHERE t.batch_id = ANY(%(batches)s::bigint[]) AND t.erased_at IS NULL
   AND NOT EXISTS (SELECT FROM open_event o
                    WHERE o."table" = {name} AND o.event_id = t.event_id)
   AND NOT EXISTS (SELECT FROM settled_event o
                    WHERE o."table" = {name} AND o.event_id = t.event_id
                      AND o.applied_at <> now())
 UNION ALL
SELECT t.* FROM {due} d JOIN {event} t ON t.event_id = d.event_id
 WHERE d."table" = {name} AND t.erased_at IS NULL
   AND NOT EXISTS (SELECT FROM open_event o
                    WHERE o."table" = {name} AND o.event_id = t.event_id)
