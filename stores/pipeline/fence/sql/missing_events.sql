-- The first events that HQ holds of a database, used or set aside, and that it no longer has.
--
-- Run by incidents.missing_events(). {name}, {event}: the staging table. {present}: the events that
-- the database has. {number}: what a till called document `event`, {key} in quarantine; other
-- events have no number.
SELECT count(*) OVER (), held.event_id, held.number
  FROM (SELECT event.generation, event.replication_counter, event.event_id, {number} AS number
          FROM {event} event WHERE event.database_id = %(database)s
        UNION ALL
        SELECT quarantine.generation, quarantine.row_key::bigint, quarantine.event_id,
               convert_from(quarantine.raw, 'UTF8')::jsonb ->> {key}
          FROM quarantine
         WHERE quarantine.database_id = %(database)s AND quarantine."table" = {name}
           AND quarantine.event_id IS NOT NULL
           AND NOT EXISTS (SELECT FROM {event} event WHERE event.event_id = quarantine.event_id)) held
 WHERE NOT EXISTS (SELECT FROM {present} present WHERE present.event_id = held.event_id)
 ORDER BY held.generation, held.replication_counter LIMIT %(listed)s
