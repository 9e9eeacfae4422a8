-- Find the GUIDs in incoming rows that are another channel's, as far as HQ knows. One row is a
-- GUID, with its company and the account number of its customer, if there is one.
--
-- Run by foreign_guids.foreign_by_hq(). A GUID without a customer is that of the channel that sent
-- it first. {incoming}: the rows. {is_given}: that HQ has sent the customer of `guid` to the
-- channel.
--
-- As arrays, GUIDs are looked up by index. Statistics lag behind a growing backlog, and with a join
-- all of it would be read for every batch.
WITH named AS MATERIALIZED (
  SELECT array_agg(DISTINCT async_account) AS guids FROM {incoming}),
waiting AS (
  SELECT DISTINCT ON (event.async_account) event.async_account, event.company_id,
         channel_database.channel_id
    FROM staged_customer event JOIN channel_database ON channel_database.id = event.database_id
   WHERE event.async_account = ANY((SELECT guids FROM named)::uuid[])
     AND event.status IN ('pending', 'failed') AND event.reason IS DISTINCT FROM 'guid_conflict'
   ORDER BY event.async_account, event.staged_at),
guid AS (
  SELECT async_account, company_id, channel_id, customer_id FROM guid_map
   WHERE async_account = ANY((SELECT guids FROM named)::uuid[]))
SELECT async_account::text AS guid, coalesce(guid.company_id, waiting.company_id) AS company,
       (SELECT account_number FROM customer WHERE id = guid.customer_id) AS account
  FROM waiting FULL JOIN guid USING (async_account)
 WHERE waiting.channel_id IS DISTINCT FROM %(channel)s
   AND CASE WHEN guid.channel_id IS NULL THEN true
            ELSE guid.channel_id <> %(channel)s AND NOT {is_given} END
