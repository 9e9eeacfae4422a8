-- Find the GUIDs of a chunk that need an account.
--
-- Run by accounts.new_customers(). One row is a GUID, with the id that its customer will have and
-- the databases of the channel that created it. If two channels name the GUID, the first one
-- counts. A GUID beside an account number needs no account: such an event edits that account.
-- {events}: the events of the chunk.
SELECT new_guid.async_account, nextval('customer_id_seq') AS customer_id, 1::bigint AS hq_version,
       home.databases
  FROM (SELECT DISTINCT ON (event.async_account) event.async_account,
               coalesce(event.database_id, event.for_database_id) AS id
          FROM ({events}) event
         WHERE event.async_account IS NOT NULL AND event.account_number IS NULL
           AND NOT EXISTS (SELECT FROM guid_map guid
                            WHERE guid.async_account = event.async_account)
         ORDER BY event.async_account, event.staged_at) new_guid
  JOIN (SELECT channel_database.id, array_agg(sibling.id) AS databases
          FROM channel_database JOIN channel_database sibling USING (channel_id)
         GROUP BY channel_database.id) home USING (id)
 ORDER BY new_guid.async_account
