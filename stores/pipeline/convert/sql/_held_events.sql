-- The events of one kind that arrived on certain days, and where each is now.
SELECT e.database_id, e.at, 1 AS rows,
       CASE WHEN e.status IS NULL THEN 'quarantined'
            WHEN e.status NOT IN ('applied', 'superseded')
            THEN CASE e.status WHEN 'pending' THEN 'waiting' ELSE e.status END
            WHEN l.async_account IS NULL THEN 'converted' ELSE 'linked' END AS place
  FROM (SELECT s.database_id, s.staged_at AS at, s.status, s.async_account
          FROM days d JOIN {view} s ON s.staged_at >= d.since AND s.staged_at < d.until
         WHERE s.session_id IS NOT NULL
        UNION ALL
        SELECT q.database_id, q.first_seen_at, s.status, s.async_account
          FROM quarantine q
          LEFT JOIN {view} s ON q.status = 'released' AND s.event_id = q.event_id
                             AND s.database_id = q.database_id AND s.session_id IS NULL
         WHERE q."table" = {name}) e
  LEFT JOIN (SELECT async_account FROM guid_map WHERE origin = 'linked') l USING (async_account)
