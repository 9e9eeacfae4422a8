-- The GUIDs that get an account now, each with the id of the customer that it becomes, and with the
-- databases of the channel that made it.
--
-- Run by accounts.new_customers(). A GUID whose event also names an account is an edit of that
-- account, not a new customer. Should two channels name it, it is the first one's. {events}: those
-- of the chunk.
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
