-- Record what claimed edits conflict with, each field with both values.
--
-- Run by conflicts.record_conflicts(). The event that `row` shows is kept; of each other place the
-- latest event that its maker had not seen is lost. Open are conflicts where a clock was wrong; the
-- rule, by which the later edit stays, closes the others.
--
-- {table}: the rows of the kind, with their customer as {owner}; {claimed}: the customers of the
-- edits; {history}: what was applied of them. {name}: the staging table, as a text; {key_text}:
-- what names the row of `lost` among its customer's. {same_key}: that `lost` is about `row`;
-- {same_key_as_lost}: that `event` is about the same as `lost`. {creation_counts}: whether making
-- an entity known can overlook another's edit. {edit_columns}: what is compared of `event`; see its
-- file. {values}: of each field whether both state it, and the values of `lost`, `kept` and
-- `before`.
WITH pair AS MATERIALIZED (
  SELECT DISTINCT ON (kept.event_id, lost.database_id)
         kept.event_id AS kept_event, lost.event_id AS lost_event
    FROM {table} row
    JOIN {history} lost ON lost.customer_id = row.{owner}
         AND coalesce(lost.database_id, 0) <> row.event_database
         AND ({creation_counts} OR lost.operation <> 'create') AND {same_key}
    JOIN {history} kept ON kept.customer_id = row.{owner}
         AND coalesce(kept.database_id, 0) = row.event_database
         AND kept.generation = row.event_generation
         AND kept.replication_counter = row.event_counter
   WHERE row.{owner} IN (SELECT customer_id FROM {claimed})
     AND now() IN (lost.applied_at, kept.applied_at)
     -- What was not at HQ yet, or has not been sent to that channel since, was not seen.
     AND (lost.applied_at >= row.event_at
          OR kept.database_id IS NOT NULL AND NOT EXISTS (
             SELECT FROM customer_delivery delivery
              WHERE delivery.database_id = kept.database_id
                AND delivery.customer_id = kept.customer_id
                AND delivery.delivered_at > lost.applied_at
                AND delivery.change_no >= (
                    SELECT max(change.change_no) FROM customer_change change
                     WHERE change.customer_id = kept.customer_id
                       AND change.made_at <= lost.applied_at)))
   ORDER BY kept.event_id, lost.database_id, lost.generation DESC, lost.replication_counter DESC),
lost AS (
  SELECT pair.kept_event, {edit_columns}
    FROM pair JOIN {history} event ON event.event_id = pair.lost_event),
kept AS (
  SELECT {edit_columns} FROM pair JOIN {history} event ON event.event_id = pair.kept_event)
INSERT INTO edit_conflict (customer_id, "table", key, field, lost_value, kept_value, lost_event,
                           kept_event, lost_database_id, kept_database_id, lost_at, kept_at,
                           clock_skewed, closed_at, choice, reason)
SELECT lost.customer_id, {name}, {key_text}, edited.field, edited.lost, edited.kept, lost.event_id,
       kept.event_id, lost.database_id, kept.database_id, lost.at, kept.at,
       lost.is_skewed OR kept.is_skewed,
       CASE WHEN NOT (lost.is_skewed OR kept.is_skewed) THEN now() END,
       CASE WHEN lost.is_skewed OR kept.is_skewed THEN '' ELSE 'rule' END, ''
  FROM lost JOIN kept ON kept.event_id = lost.kept_event
  -- A field that the lost edit left as it was is no conflict.
  LEFT JOIN LATERAL (
       SELECT {edit_columns} FROM {history} event
        WHERE event.customer_id = lost.customer_id AND {same_key_as_lost}
          AND (least(event.occurred_at, event.staged_at), database_place(event.database_id),
               event.generation, event.replication_counter)
            < (lost.at, lost.place, lost.generation, lost.replication_counter)
        ORDER BY least(event.occurred_at, event.staged_at) DESC,
                 database_place(event.database_id) DESC, event.generation DESC,
                 event.replication_counter DESC
        LIMIT 1) before ON true
 CROSS JOIN LATERAL (VALUES {values}) edited (field, is_stated, lost, kept, before)
 WHERE edited.is_stated AND edited.lost <> edited.kept
   AND (before.event_id IS NULL OR edited.lost <> edited.before)
    ON CONFLICT DO NOTHING
