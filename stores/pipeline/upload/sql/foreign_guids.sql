-- GUIDs of the incoming rows that are another channel's, as far as HQ knows.
--
-- A GUID that waits is that of the channel whose event came first. Arrays have the GUIDs looked up
-- by index: statistics know too little of a backlog that grows, and all of it would be read for
-- every batch. {is_given}: that HQ has given the customer of map m to the channel.
WITH named AS MATERIALIZED (
  SELECT array_agg(DISTINCT async_account) AS guids FROM {incoming}),
waiting AS (
  SELECT DISTINCT ON (s.async_account) s.async_account, s.company_id, b.channel_id
    FROM staged_customer s JOIN channel_database b ON b.id = s.database_id
   WHERE s.async_account = ANY((SELECT guids FROM named)::uuid[])
     AND s.status IN ('pending', 'failed') AND s.reason IS DISTINCT FROM 'guid_conflict'
   ORDER BY s.async_account, s.staged_at),
known AS (
  SELECT async_account, company_id, channel_id, customer_id FROM guid_map
   WHERE async_account = ANY((SELECT guids FROM named)::uuid[]))
SELECT async_account::text, coalesce(m.company_id, w.company_id),
       (SELECT account_number FROM customer WHERE id = m.customer_id)
  FROM waiting w FULL JOIN known m USING (async_account)
 WHERE w.channel_id IS DISTINCT FROM %(channel)s
   AND CASE WHEN m.channel_id IS NULL THEN true
            ELSE m.channel_id <> %(channel)s AND NOT {is_given} END
