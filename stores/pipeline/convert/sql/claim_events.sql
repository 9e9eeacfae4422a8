-- Pending events whose customer is known, by GUID or by account number.
--
-- `refusal` is the reason for which one may not be applied. {is_foreign}: that the channel of event
-- s named GUID m, which it could not know.
SELECT s.event_id, coalesce(m.customer_id, k.id) AS customer_id, 0::bigint AS hq_version,
       CASE WHEN m.company_id <> s.company_id THEN 'company_mismatch'
            WHEN {is_foreign} THEN 'guid_conflict'
            WHEN m.customer_id <> k.id THEN 'identity_mismatch' END AS refusal
  FROM {event} s
  LEFT JOIN channel_database b ON b.id = s.database_id
  LEFT JOIN guid_map m ON m.async_account = s.async_account
  LEFT JOIN customer k ON k.company_id = %(company)s AND k.account_number = s.account_number
 WHERE s.company_id = %(company)s AND s.status = 'pending'
   AND coalesce(m.customer_id, k.id) IS NOT NULL
   AND (%(only)s::uuid[] IS NULL OR s.event_id = ANY(%(only)s::uuid[]))
   AND s.event_id <> ALL(%(passed)s::uuid[])
 ORDER BY s.database_id, s.generation, s.replication_counter
 LIMIT %(limit)s
