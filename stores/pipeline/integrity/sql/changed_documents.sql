-- Documents of which a channel has other contents than it sent, lines and payments included.
--
-- By the hash that HQ made on arrival: what people corrected since is no difference. {described}:
-- the channel's documents, each with the hash of what it says now.
SELECT c.label AS channel, 'retail_transaction' AS "table", s.event_id::text, 'content' AS columns
  FROM ({described}) v JOIN {channels} c USING (database_id)
  JOIN retail_transaction s USING (event_id, database_id)
 WHERE s.content_hash <> v.content_hash
