-- The events of one kind that arrived on certain days, and where each is now.
--
-- A part of recount.sql. {view}: the events with their state; {name}: their staging table, as a
-- text.
SELECT held.database_id, held.at, 1 AS rows,
       CASE WHEN held.status IS NULL THEN 'quarantined'
            WHEN held.status = 'pending' THEN 'waiting'
            WHEN held.status NOT IN ('applied', 'superseded') THEN held.status
            WHEN linked.async_account IS NULL THEN 'converted'
            ELSE 'linked' END AS place
  FROM (SELECT event.database_id, event.staged_at AS at, event.status, event.async_account
          FROM days
          JOIN {view} event ON event.staged_at >= days.since AND event.staged_at < days.until
         WHERE event.session_id IS NOT NULL
        UNION ALL
        -- What was released from quarantine came without a session.
        SELECT quarantine.database_id, quarantine.first_seen_at, event.status, event.async_account
          FROM quarantine
          LEFT JOIN {view} event
                 ON quarantine.status = 'released' AND event.event_id = quarantine.event_id
                AND event.database_id = quarantine.database_id AND event.session_id IS NULL
         WHERE quarantine."table" = {name}) held
  LEFT JOIN (SELECT async_account FROM guid_map WHERE origin = 'linked') linked
      USING (async_account)
