-- The first events that HQ holds of a database, used or set aside, and that it no longer has.
--
-- {number}: what a till called document s, {key} in quarantine; other events have no number.
SELECT count(*) OVER (), held.event_id, held.number
  FROM (SELECT s.generation, s.replication_counter, s.event_id, {number} AS number
          FROM {event} s WHERE s.database_id = %(database)s
        UNION ALL
        SELECT q.generation, q.row_key::bigint, q.event_id,
               convert_from(q.raw, 'UTF8')::jsonb ->> {key}
          FROM quarantine q
         WHERE q.database_id = %(database)s AND q."table" = {name} AND q.event_id IS NOT NULL
           AND NOT EXISTS (SELECT FROM {event} s WHERE s.event_id = q.event_id)) held
 WHERE NOT EXISTS (SELECT FROM {present} p WHERE p.event_id = held.event_id)
 ORDER BY held.generation, held.replication_counter LIMIT %(listed)s
