-- The GUIDs that get an account now, each with the id of the customer that it becomes, and with the
-- databases of the channel that made it.
--
-- A GUID whose event also names an account is an edit of that account, not a new customer. Should
-- two channels name it, it is the first one's.
SELECT g.async_account, nextval('customer_id_seq') AS customer_id, 1::bigint AS hq_version,
       home.databases
  FROM (SELECT DISTINCT ON (s.async_account) s.async_account,
               coalesce(s.database_id, s.for_database_id) AS id
          FROM ({events}) s
         WHERE s.async_account IS NOT NULL AND s.account_number IS NULL
           AND NOT EXISTS (SELECT FROM guid_map m WHERE m.async_account = s.async_account)
         ORDER BY s.async_account, s.staged_at) g
  JOIN (SELECT b.id, array_agg(o.id) AS databases
          FROM channel_database b JOIN channel_database o USING (channel_id)
         GROUP BY b.id) home USING (id)
 ORDER BY g.async_account
