-- Count where the events of one kind are now, for each database and day on which some arrived.
--
-- Run by balance.count_table(). It is one statement, so that arrivals and events are seen as of one
-- moment. {name}: the staging table, as a text. {view}: the events with their state.
WITH counted_day AS (
  SELECT * FROM days_to_count({name}, %(databases)s, %(is_moved)s, %(days)s::text[])),
period AS (SELECT DISTINCT since, until FROM counted_day),
arrived AS (
  SELECT event.database_id, event.staged_at AS at, event.status, event.async_account
    FROM period
    JOIN {view} event ON event.staged_at >= period.since AND event.staged_at < period.until
   -- Others without a session were made by HQ, or were in quarantine first.
   WHERE event.session_id IS NOT NULL OR event.origin = 'rts'
  UNION ALL
  -- A quarantined row and, once it is released, its event.
  SELECT quarantine.database_id, quarantine.first_seen_at AS at, event.status, event.async_account
    FROM quarantine
    LEFT JOIN {view} event
           ON quarantine.status = 'released' AND event.event_id = quarantine.event_id
          AND event.database_id = quarantine.database_id AND event.session_id IS NULL
   WHERE quarantine."table" = {name}
  OFFSET 0),
placed AS (
  SELECT arrived.database_id, (arrived.at AT TIME ZONE 'UTC')::date AS day,
         CASE WHEN arrived.status IS NULL THEN 'quarantined'
              WHEN arrived.status = 'pending' THEN 'waiting'
              WHEN arrived.status NOT IN ('applied', 'superseded') THEN arrived.status
              WHEN linked.async_account IS NULL THEN 'converted'
              ELSE 'linked' END AS place
    FROM arrived
    LEFT JOIN (SELECT async_account FROM guid_map WHERE origin = 'linked') linked
        USING (async_account)
  OFFSET 0),
counts AS (
  SELECT database_id, day,
         count(*) FILTER (WHERE place = 'converted') AS converted,
         count(*) FILTER (WHERE place = 'linked') AS linked,
         count(*) FILTER (WHERE place = 'waiting') AS waiting,
         count(*) FILTER (WHERE place = 'failed') AS failed,
         count(*) FILTER (WHERE place = 'quarantined') AS quarantined,
         count(*) FILTER (WHERE place = 'erased') AS erased
    FROM placed GROUP BY database_id, day)
INSERT INTO balance (database_id, "table", day, captured, converted, linked, waiting, failed,
                     quarantined, erased, counted_at)
SELECT database_id, {name}, day, counted_day.rows, coalesce(converted, 0), coalesce(linked, 0),
       coalesce(waiting, 0), coalesce(failed, 0), coalesce(quarantined, 0), coalesce(erased, 0),
       now()
  FROM counted_day LEFT JOIN counts USING (database_id, day)
 ORDER BY database_id, day
    ON CONFLICT (database_id, "table", day) DO UPDATE SET
       captured = excluded.captured, converted = excluded.converted, linked = excluded.linked,
       waiting = excluded.waiting, failed = excluded.failed, quarantined = excluded.quarantined,
       erased = excluded.erased, counted_at = excluded.counted_at
