-- Find customers with edits of several places, or with several edits of one entity. One row is a
-- customer.
--
-- Run by concurrent_edits.settle_concurrent_edits(). Most customers have edits of a single place,
-- one of each entity, and nothing more is asked about them. {history}: the events that were applied
-- to the customers. {entity_of_event}: what identifies the entity of `event`. {can_be_forgotten}:
-- that an edit is not a creation, which every version says.
SELECT event.customer_id FROM {history} event WHERE event.operation <> 'deactivate'
 GROUP BY event.customer_id
HAVING count(DISTINCT (coalesce(event.database_id, 0), event.generation,
                       CASE WHEN event.created_offline
                            THEN merged_from(event.database_id, event.terminal_id) END)) > 1
    -- An entity has several.
    OR count(*) FILTER (WHERE {can_be_forgotten})
     > count(DISTINCT ({entity_of_event})) FILTER (WHERE {can_be_forgotten})
