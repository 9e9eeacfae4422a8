-- List the first events of a database that HQ holds, and that are no longer in the database. One
-- row is an event, with the number of all such events.
--
-- Run by incidents.missing_events(). HQ holds staged and quarantined events. {event}: the staging
-- table; {name}: its name, as a text. {present}: the ids of the events in the database. {number}:
-- the number of a sale in `event`; {number_key}: the same in a raw row. Other events have none.
SELECT count(*) OVER () AS total, held.event_id, held.number
  FROM (SELECT event.generation, event.replication_counter, event.event_id, {number} AS number
          FROM {event} event
         -- Generation 0 came by the real-time service, and need not be in the database.
         WHERE event.database_id = %(database)s AND event.generation > 0
        UNION ALL
        SELECT quarantine.generation, quarantine.row_key::bigint AS replication_counter,
               quarantine.event_id, convert_from(quarantine.raw, 'UTF8')::jsonb ->> {number_key} AS number
          FROM quarantine
         WHERE quarantine.database_id = %(database)s AND quarantine."table" = {name}
           AND quarantine.event_id IS NOT NULL
           AND NOT EXISTS (SELECT FROM {event} event WHERE event.event_id = quarantine.event_id)) held
 WHERE NOT EXISTS (SELECT FROM {present} present WHERE present.event_id = held.event_id)
 ORDER BY held.generation, held.replication_counter LIMIT %(listed)s
