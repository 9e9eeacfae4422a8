-- Record the edits that lost against an edit whose maker did not know of them.
--
-- Run by conflicts.record_conflicts(). It writes one row of edit_conflict for each field that two
-- edits changed to different values: `found` has it, with both edits and values. A conflict is left
-- to a person if one of the two clocks was wrong by more than `tolerance`. Otherwise it is closed:
-- by the rule, the later edit stays. {history}: the events that were applied to the customers.
-- {name}: the staging table, as a text.
WITH found AS MATERIALIZED (
  SELECT * FROM jsonb_to_recordset(%(conflicts)s::jsonb)
             AS found (key text, field text, lost_event uuid, lost_value text, kept_event uuid,
                       kept_value text)),
edit AS MATERIALIZED (
  SELECT event.event_id, event.customer_id, event.database_id,
         least(event.occurred_at, event.staged_at) AS at,
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
    FROM {history} event
   WHERE event.event_id IN (SELECT lost_event FROM found UNION SELECT kept_event FROM found)),
judged AS (
  SELECT edit.*, is_in_future OR is_before_customer OR is_before_earlier_event AS is_clock_wrong
    FROM edit)
INSERT INTO edit_conflict (customer_id, "table", key, field, lost_value, kept_value, lost_event,
                           kept_event, lost_database_id, kept_database_id, lost_at, kept_at,
                           clock_skewed, closed_at, choice, reason)
SELECT lost.customer_id, {name}, found.key, found.field, found.lost_value, found.kept_value,
       lost.event_id, kept.event_id, lost.database_id, kept.database_id, lost.at, kept.at,
       lost.is_clock_wrong OR kept.is_clock_wrong,
       CASE WHEN NOT (lost.is_clock_wrong OR kept.is_clock_wrong) THEN now() END,
       CASE WHEN lost.is_clock_wrong OR kept.is_clock_wrong THEN '' ELSE 'rule' END, ''
  FROM found
  JOIN judged lost ON lost.event_id = found.lost_event
  JOIN judged kept ON kept.event_id = found.kept_event
    ON CONFLICT DO NOTHING
