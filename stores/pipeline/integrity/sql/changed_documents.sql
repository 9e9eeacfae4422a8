-- Changed sales: one row for each of which its channel has changed the header, a line or a payment.
--
-- For check I40, and for reconcile. HQ saved the hash of a sale when it arrived, so corrections
-- made at HQ are not differences. {described}: the channels' sales, each with its present hash.
-- {channels}: the channels.
SELECT seen.label AS channel, 'retail_transaction' AS "table", sale.event_id::text,
       'content' AS columns
  FROM ({described}) described
  JOIN {channels} seen USING (database_id)
  JOIN retail_transaction sale USING (event_id, database_id)
 WHERE sale.content_hash <> described.content_hash
