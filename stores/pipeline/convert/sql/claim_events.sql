-- The events of a chunk that are not those of its new customers, with the customer that each names.
--
-- `reason` says why one cannot be applied: its customer is not known, or may not be named. `by_guid`:
-- the event names an account that HQ does not know; it belongs to the customer of its GUID then.
-- `hq_version` is filled in when the events are applied.
-- {is_of_new}: that event s belongs to new customer c, of whom nothing has to be looked up.
-- {is_foreign}: that the channel of event s named GUID m, which it could not know.
WITH other AS MATERIALIZED (
  SELECT s.event_id, s.batch_id, s.company_id, s.async_account, s.account_number, s.database_id,
         s.staged_at
    FROM ({events}) s
   WHERE NOT EXISTS (SELECT FROM {new_customers} c WHERE {is_of_new}))
SELECT s.event_id, s.batch_id, s.company_id, s.async_account, s.account_number,
       0::bigint AS hq_version,
       coalesce(m.customer_id, k.id) AS customer_id,
       s.account_number IS NOT NULL AND k.id IS NULL AS by_guid,
       CASE WHEN m.company_id <> s.company_id THEN 'company_mismatch'
            WHEN {is_foreign} THEN 'guid_conflict'
            WHEN m.customer_id <> k.id THEN 'identity_mismatch'
            -- Known: it can be applied.
            WHEN coalesce(m.customer_id, k.id) IS NOT NULL THEN NULL
            WHEN s.account_number IS NOT NULL THEN 'account_unknown'
            ELSE 'parent_missing' END AS reason
  FROM other s
  LEFT JOIN channel_database b ON b.id = s.database_id
  LEFT JOIN guid_map m ON m.async_account = s.async_account
  LEFT JOIN customer k ON k.company_id = %(company)s AND k.account_number = s.account_number
