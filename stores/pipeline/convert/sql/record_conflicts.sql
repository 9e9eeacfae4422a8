-- Record the edits that lost against an edit whose maker did not know of them.
--
-- Run by conflicts.record_conflicts(). It writes one row of edit_conflict for each field that the
-- two edits set to different values. Kept is the event that a row of HQ shows; lost is, of each
-- other database, the latest event that the maker of the kept one had not seen. A conflict is left
-- to a person if one of the two clocks was wrong by more than `tolerance`. Otherwise it is closed:
-- by the rule, the later edit stays.
--
-- {table}: the rows of the kind, with their customer as {owner}; {name}: the staging table, as a
-- text. {claimed}: the customers to look at; {history}: the events that were applied to them.
-- {creation_counts}: whether an event that creates an entity can lose. {is_about_row}: that `event`
-- is about `row`; {same_entity}: that `edit` and `lost` are about the same entity. {columns}: the
-- fields of `event`, as texts. {fields}: for each field its name, whether both edits state it, and
-- its value in `lost`, `kept` and `before`. {key_text}: which of its customer's rows `lost` means.
WITH pair AS MATERIALIZED (
  SELECT DISTINCT ON (shown.event_id, event.database_id)
         shown.event_id AS kept_event, event.event_id AS lost_event
    FROM {table} row
    JOIN {history} event ON {is_about_row}
         AND coalesce(event.database_id, 0) <> row.event_database
         AND ({creation_counts} OR event.operation <> 'create')
    JOIN {history} shown ON shown.customer_id = row.{owner}
         AND coalesce(shown.database_id, 0) = row.event_database
         AND shown.generation = row.event_generation
         AND shown.replication_counter = row.event_counter
   WHERE row.{owner} IN (SELECT customer_id FROM {claimed})
     AND now() IN (event.applied_at, shown.applied_at)
     -- Not seen is what was not at HQ yet, or was not sent to the database afterwards.
     AND (event.applied_at >= row.event_at
          OR (shown.database_id IS NOT NULL AND NOT EXISTS (
             SELECT FROM customer_delivery delivery
              WHERE delivery.database_id = shown.database_id
                AND delivery.customer_id = shown.customer_id
                AND delivery.delivered_at > event.applied_at
                AND delivery.change_no >= (
                    SELECT max(change.change_no) FROM customer_change change
                     WHERE change.customer_id = shown.customer_id
                       AND change.made_at <= event.applied_at))))
   ORDER BY shown.event_id, event.database_id, event.generation DESC,
            event.replication_counter DESC),
edit AS NOT MATERIALIZED (
  SELECT event.event_id, event.customer_id, event.database_id, event.generation,
         event.replication_counter, least(event.occurred_at, event.staged_at) AS at,
         database_place(event.database_id) AS place,
         event.operation <> 'deactivate' AS is_active, {columns},
         -- The time had not come yet when HQ received the event.
         event.occurred_at > event.staged_at + %(tolerance)s::interval AS is_in_future,
         -- The customer, or the account that the event names, did not exist yet.
         (event.operation <> 'create' AND event.occurred_at + %(tolerance)s::interval < (
             SELECT CASE WHEN event.account_number IS NOT NULL THEN customer.created_at
                         ELSE coalesce(min(least(creation.occurred_at, creation.staged_at)),
                                       customer.created_at) END
               FROM customer LEFT JOIN guid_map guid ON guid.customer_id = customer.id
               LEFT JOIN async_customer creation
                    ON creation.async_account = guid.async_account
                   AND creation.operation = 'create' AND creation.account_number IS NULL
              WHERE customer.id = event.customer_id GROUP BY customer.id)) AS is_before_customer,
         -- The database had already written an event with a later time.
         EXISTS (
             SELECT FROM {history} earlier
              WHERE earlier.customer_id = event.customer_id
                AND earlier.database_id = event.database_id
                AND (earlier.generation, earlier.replication_counter)
                  < (event.generation, event.replication_counter)
                AND least(earlier.occurred_at, earlier.staged_at)
                  > event.occurred_at + %(tolerance)s::interval) AS is_before_earlier_event
    FROM {history} event),
lost AS (
  SELECT edit.*, pair.kept_event, is_in_future OR is_before_customer OR is_before_earlier_event
         AS is_clock_wrong
    FROM pair JOIN edit ON edit.event_id = pair.lost_event),
kept AS (
  SELECT edit.*, is_in_future OR is_before_customer OR is_before_earlier_event AS is_clock_wrong
    FROM pair JOIN edit ON edit.event_id = pair.kept_event)
INSERT INTO edit_conflict (customer_id, "table", key, field, lost_value, kept_value, lost_event,
                           kept_event, lost_database_id, kept_database_id, lost_at, kept_at,
                           clock_skewed, closed_at, choice, reason)
SELECT lost.customer_id, {name}, {key_text}, field.name, field.lost, field.kept, lost.event_id,
       kept.event_id, lost.database_id, kept.database_id, lost.at, kept.at,
       lost.is_clock_wrong OR kept.is_clock_wrong,
       CASE WHEN NOT (lost.is_clock_wrong OR kept.is_clock_wrong) THEN now() END,
       CASE WHEN lost.is_clock_wrong OR kept.is_clock_wrong THEN '' ELSE 'rule' END, ''
  FROM lost JOIN kept ON kept.event_id = lost.kept_event
  -- What the lost edit left as it was before is no conflict.
  LEFT JOIN LATERAL (
       SELECT edit.* FROM edit
        WHERE {same_entity} AND (edit.at, edit.place, edit.generation, edit.replication_counter)
            < (lost.at, lost.place, lost.generation, lost.replication_counter)
        ORDER BY edit.at DESC, edit.place DESC, edit.generation DESC,
                 edit.replication_counter DESC
        LIMIT 1) before ON true
 CROSS JOIN LATERAL (VALUES {fields}) field (name, is_stated, lost, kept, before)
 WHERE field.is_stated AND field.lost <> field.kept
   AND (before.event_id IS NULL OR field.lost <> field.before)
    ON CONFLICT DO NOTHING
