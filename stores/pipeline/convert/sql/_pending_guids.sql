-- GUIDs that need an account, each with the databases of the channel that made it.
--
-- A GUID whose event also names an account is an edit of that account, not a new customer. Should
-- two channels name it, it is the first one's. Limited before anything is joined, so that a chunk
-- reads its own GUIDs and no others.
--
-- {after}: from the first GUID on, or beyond it.
SELECT g.async_account, home.databases
  FROM (SELECT DISTINCT ON (s.async_account) s.async_account,
               coalesce(s.database_id, s.for_database_id) AS id
          FROM async_customer s
         WHERE s.company_id = %(company)s AND s.status = 'pending'
           AND s.async_account {after} %(beyond)s AND s.account_number IS NULL
           AND (%(only)s::uuid[] IS NULL OR s.async_account = ANY(%(only)s::uuid[]))
           AND NOT EXISTS (SELECT FROM guid_map m
                            WHERE m.async_account = s.async_account
                              AND m.async_account {after} %(beyond)s)
         ORDER BY s.async_account, s.staged_at LIMIT %(limit)s) g
  JOIN (SELECT b.id, array_agg(o.id) AS databases
          FROM channel_database b JOIN channel_database o USING (channel_id)
         GROUP BY b.id) home USING (id)
 ORDER BY g.async_account
