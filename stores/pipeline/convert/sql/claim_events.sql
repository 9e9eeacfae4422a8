-- The events of a chunk that are not those of its new customers, with the customer that each names.
--
-- Run by known_customers.claimed_events(). `reason` says why an event cannot be applied: its
-- customer is not known, or may not be named; NULL if it can. `by_guid`: the event names an account
-- that HQ does not know, and goes to the customer of its GUID. `hq_version` is filled in when the
-- events are applied.
--
-- {events}: those of the chunk. {is_of_new}: that `event` belongs to the customer `claimed` of
-- {new_customers}, of whom nothing has to be looked up. {is_foreign}: that `guid` is one that the
-- channel of `event`, which is that of `channel_database`, could not know.
WITH other_event AS MATERIALIZED (
  SELECT event.event_id, event.batch_id, event.company_id, event.async_account,
         event.account_number, event.database_id, event.staged_at
    FROM ({events}) event
   WHERE NOT EXISTS (SELECT FROM {new_customers} claimed WHERE {is_of_new}))
SELECT event.event_id, event.batch_id, event.company_id, event.async_account, event.account_number,
       0::bigint AS hq_version,
       coalesce(guid.customer_id, customer.id) AS customer_id,
       event.account_number IS NOT NULL AND customer.id IS NULL AS by_guid,
       CASE WHEN guid.company_id <> event.company_id THEN 'company_mismatch'
            WHEN {is_foreign} THEN 'guid_conflict'
            WHEN guid.customer_id <> customer.id THEN 'identity_mismatch'
            -- Known: it can be applied.
            WHEN coalesce(guid.customer_id, customer.id) IS NOT NULL THEN NULL
            WHEN event.account_number IS NOT NULL THEN 'account_unknown'
            ELSE 'parent_missing' END AS reason
  FROM other_event event
  LEFT JOIN channel_database ON channel_database.id = event.database_id
  LEFT JOIN guid_map guid ON guid.async_account = event.async_account
  LEFT JOIN customer ON customer.company_id = %(company)s
                    AND customer.account_number = event.account_number
